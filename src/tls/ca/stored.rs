//! An [`Authority`] as its Secret holds it. No I/O, no clock.
//!
//! `generation`, `phase`, `current.crt` and `current.key` are always there, `cross.crt` when there was a CA before,
//! `next.crt` and `next.key` in phase `Published`, `previous.crt` in phase `Promoted`.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authority::{Authority, Phase, pem_of};
use super::issue::{Ca, permitted_by};
use crate::tls::names::Names;
use crate::tls::pair::Validity;

/// Greatest generation that is read: there cannot have been more rotations, and later generations have to be greater.
const LAST_GENERATION: u64 = 1 << 40;

/// Content of the Secret.
pub type Data = BTreeMap<String, ByteString>;

const GENERATION: &str = "generation";
const PHASE: &str = "phase";
const CURRENT: (&str, &str) = ("current.crt", "current.key");
const NEXT: (&str, &str) = ("next.crt", "next.key");
const CROSS: &str = "cross.crt";
const PREVIOUS: &str = "previous.crt";

const STABLE: &str = "Stable";
const PUBLISHED: &str = "Published";
const PROMOTED: &str = "Promoted";

/// What is wrong with the content of a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// There is nothing in it.
    #[error("nothing")]
    Empty,
    /// One of the keys is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// One of the keys has no legible value.
    #[error("{0} cannot be read")]
    Illegible(&'static str),
    /// The key is not that of the certificate.
    #[error("the key does not belong to {0}")]
    KeyMismatch(&'static str),
    /// The certificate is none of a CA.
    #[error("{0} is no certificate of a CA")]
    NoAuthority(&'static str),
    /// The CA may not sign for the Service, or for others, too.
    #[error("{0} is for other names")]
    OtherNames(&'static str),
    /// The certificate did not sign the cross-certificate of the CA after it.
    #[error("{0} is not what has signed the CA after it")]
    Unrelated(&'static str),
}

/// What a Secret holds.
#[derive(Debug)]
pub struct Diagnosis {
    /// As much of it as can be used. It may have expired.
    pub authority: Option<Authority>,
    /// What is wrong with the rest.
    pub damage: Option<Damage>,
    /// The recorded generation, if it can be read.
    pub generation: Option<u64>,
}

/// Reads the content of the Secret.
#[must_use]
pub fn diagnose(data: &Data, names: &Names) -> Diagnosis {
    if data.values().all(|value| value.0.is_empty()) {
        return Diagnosis { authority: None, damage: Some(Damage::Empty), generation: None };
    }
    let generation = text(data, GENERATION).ok().and_then(|text| text.trim().parse().ok());
    let generation = generation.filter(|generation| *generation <= LAST_GENERATION);
    match current(data, generation, names) {
        Ok(current) => {
            let (authority, damage) = around(data, Arc::new(current), names);
            Diagnosis { authority: Some(authority), damage, generation }
        }
        Err(damage) => Diagnosis { authority: None, damage: Some(damage), generation },
    }
}

/// The content of a Secret that holds `authority`.
#[must_use]
pub fn render(authority: &Authority) -> Data {
    let Authority { current, cross, phase } = authority;
    let mut content = vec![
        (GENERATION, current.generation.to_string()),
        (CURRENT.0, pem_of(&current.certificate)),
        (CURRENT.1, current.key.serialize_pem()),
    ];
    content.extend(cross.as_ref().map(|cross| (CROSS, pem_of(cross))));
    match phase {
        Phase::Stable => content.push((PHASE, STABLE.to_owned())),
        Phase::Published { next } => content.extend([
            (PHASE, PUBLISHED.to_owned()),
            (NEXT.0, pem_of(&next.certificate)),
            (NEXT.1, next.key.serialize_pem()),
        ]),
        Phase::Promoted { previous } => {
            content.extend([(PHASE, PROMOTED.to_owned()), (PREVIOUS, pem_of(previous))]);
        }
    }
    content.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes()))).collect()
}

fn current(data: &Data, generation: Option<u64>, names: &Names) -> Result<Ca, Damage> {
    text(data, GENERATION)?;
    ca(data, CURRENT, generation.ok_or(Damage::Illegible(GENERATION))?, names)
}

/// What is beside the current CA, as far as it can be read.
fn around(data: &Data, current: Arc<Ca>, names: &Names) -> (Authority, Option<Damage>) {
    let (cross, cross_damage) = match cross(data, &current) {
        Ok(cross) => (cross, None),
        Err(damage) => (None, Some(damage)),
    };
    let phase = match text(data, PHASE) {
        Ok(PUBLISHED) => ca(data, NEXT, current.generation.saturating_add(1), names)
            .map(|next| Phase::Published { next: Arc::new(next) }),
        Ok(PROMOTED) => previous(data, cross.as_ref()),
        Ok(STABLE) => Ok(Phase::Stable),
        // A phase of a later version is no damage, so that of two versions at work the older does not undo what the newer
        // does: it uses the current CA, and trusts the previous one as in `Promoted`.
        _ if text(data, PREVIOUS).is_ok() => previous(data, cross.as_ref()),
        _ => Ok(Phase::Stable),
    };
    let (phase, phase_damage) = match phase {
        Ok(phase) => (phase, None),
        Err(damage) => (Phase::Stable, Some(damage)),
    };
    let lost = matches!(phase, Phase::Promoted { .. }) && cross.is_none();
    let lost = lost.then_some(Damage::Missing(CROSS));
    (Authority { current, cross, phase }, cross_damage.or(phase_damage).or(lost))
}

fn previous(data: &Data, cross: Option<&CertificateDer<'_>>) -> Result<Phase, Damage> {
    let previous = certificate(data, PREVIOUS)?;
    let has_signed = |cross: &CertificateDer<'_>| {
        let parsed = X509Certificate::from_der(cross).ok().zip(X509Certificate::from_der(&previous).ok());
        parsed.is_some_and(|((_, cross), (_, previous))| cross.issuer() == previous.subject())
    };
    if !cross.is_none_or(has_signed) {
        return Err(Damage::Unrelated(PREVIOUS));
    }
    Ok(Phase::Promoted { previous })
}

fn cross(data: &Data, current: &Ca) -> Result<Option<CertificateDer<'static>>, Damage> {
    if data.get(CROSS).is_none_or(|value| value.0.is_empty()) {
        return Ok(None);
    }
    let cross = certificate(data, CROSS)?;
    if public_key(&cross).as_deref() != Some(current.key.public_key_raw()) {
        return Err(Damage::KeyMismatch(CROSS));
    }
    Ok(Some(cross))
}

fn ca(data: &Data, (crt, key): (&'static str, &'static str), generation: u64, names: &Names) -> Result<Ca, Damage> {
    let der = certificate(data, crt)?;
    let key = KeyPair::from_pem(text(data, key)?).map_err(|_| Damage::Illegible(key))?;
    let (_, x509) = X509Certificate::from_der(&der).map_err(|_| Damage::Illegible(crt))?;
    if x509.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err(Damage::KeyMismatch(crt));
    }
    if !x509.is_ca() {
        return Err(Damage::NoAuthority(crt));
    }
    // Without the names in a cluster of another domain it serves the API server all the same, until it is replaced.
    let permitted = permitted_by(&der);
    if !permitted.contains(&names.server_name()) {
        return Err(Damage::OtherNames(crt));
    }
    let common_name = x509.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    let common_name = common_name.ok_or(Damage::Illegible(crt))?.to_owned();
    let Validity { not_before, not_after } = Validity::of(&der).ok_or(Damage::Illegible(crt))?;
    Ok(Ca { generation, key, common_name, permitted, not_before, not_after, certificate: der.clone() })
}

fn certificate(data: &Data, key: &'static str) -> Result<CertificateDer<'static>, Damage> {
    let der = CertificateDer::from_pem_slice(text(data, key)?.as_bytes()).map_err(|_| Damage::Illegible(key))?;
    public_key(&der).map(|_| der).ok_or(Damage::Illegible(key))
}

fn public_key(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, x509) = X509Certificate::from_der(certificate).ok()?;
    Some(x509.public_key().subject_public_key.data.to_vec())
}

fn text<'a>(data: &'a Data, key: &'static str) -> Result<&'a str, Damage> {
    let value = data.get(key).filter(|value| !value.0.is_empty()).ok_or(Damage::Missing(key))?;
    std::str::from_utf8(&value.0).map_err(|_| Damage::Illegible(key))
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
