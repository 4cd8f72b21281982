//! The CA as its Secret holds it, and what to do about what is found there. No I/O, no clock.
//!
//! | Secret                          | in memory      | action                                |
//! |---------------------------------|----------------|---------------------------------------|
//! | holds a CA that can be used     | the same       | keep serving                          |
//! | holds a CA that can be used     | another, none  | adopt it                              |
//! | empty, damaged, expired, ...    | one still valid| write that one back                   |
//! | empty, damaged, expired, ...    | none           | write a new one                       |
//! | missing                         | any            | keep serving; only a person can help  |

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::issue::Ca;
use super::names::Names;

/// Content of the Secret.
pub type Data = BTreeMap<String, ByteString>;

const GENERATION: &str = "generation";
const PHASE: &str = "phase";
const CERTIFICATE: &str = "current.crt";
const KEY: &str = "current.key";
/// The only phase yet: one CA, and no other on its way in or out. It is written for later versions and not judged, so
/// that of two versions at work the older does not undo what the newer does: the current CA is the one to use.
const STABLE: &str = "Stable";

/// Why what a Secret holds cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// One of the keys is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// One of the keys has no legible value.
    #[error("{0} cannot be read")]
    Illegible(&'static str),
    /// The key is not that of the certificate.
    #[error("the key does not belong to the certificate")]
    KeyMismatch,
    /// The certificate is none of a CA.
    #[error("the certificate is none of a CA")]
    NoAuthority,
    /// The CA may vouch for other names than those of the Service.
    #[error("the CA is for other names")]
    OtherNames,
    /// The CA is no longer, or not yet, valid.
    #[error("the CA is not valid now")]
    NotValidNow,
}

/// What a Secret holds.
#[derive(Debug)]
pub enum Judgement {
    /// A CA that can be used now.
    Usable(Box<Ca>),
    /// Nothing.
    Empty,
    /// Something else, of which `generation` could be read all the same.
    Damaged {
        /// What is wrong with it.
        reason: Damage,
        /// Generation that it says it has.
        generation: Option<u64>,
    },
}

/// What was seen of the Secret.
#[derive(Debug)]
pub enum Observed {
    /// It exists.
    Present(Judgement),
    /// It does not.
    Missing,
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// Use the CA of the Secret from now on.
    Adopt(Box<Ca>),
    /// Write the CA in memory back to the Secret.
    FillHeld,
    /// Write a new CA of this generation to the Secret.
    FillNew(u64),
    /// Nothing.
    KeepServing,
}

/// Judges the content of the Secret.
#[must_use]
pub fn judge(data: &Data, names: &Names, now: SystemTime) -> Judgement {
    if data.values().all(|value| value.0.is_empty()) {
        return Judgement::Empty;
    }
    let generation = text(data, GENERATION).ok().and_then(|text| text.trim().parse().ok());
    match read(data, generation, names, now) {
        Ok(ca) => Judgement::Usable(Box::new(ca)),
        Err(reason) => Judgement::Damaged { reason, generation },
    }
}

/// Decides by what was seen of the Secret and what is in memory.
#[must_use]
pub fn step(observed: Observed, held: Option<&Ca>, now: SystemTime) -> Action {
    let fill = |found: u64| match held {
        Some(held) if held.is_valid_at(now) => Action::FillHeld,
        Some(held) => Action::FillNew(held.generation.max(found).saturating_add(1)),
        None => Action::FillNew(found.saturating_add(1)),
    };
    match observed {
        Observed::Missing => Action::KeepServing,
        Observed::Present(Judgement::Usable(ca)) if held.is_some_and(|held| held.certificate == ca.certificate) => {
            Action::KeepServing
        }
        Observed::Present(Judgement::Usable(ca)) => Action::Adopt(ca),
        Observed::Present(Judgement::Empty) => fill(0),
        Observed::Present(Judgement::Damaged { generation, .. }) => fill(generation.unwrap_or(0)),
    }
}

/// The content of a Secret that holds `ca`.
#[must_use]
pub fn render(ca: &Ca) -> Data {
    [
        (GENERATION, ca.generation.to_string()),
        (PHASE, STABLE.to_owned()),
        (CERTIFICATE, pem_of(&ca.certificate)),
        (KEY, ca.key.serialize_pem()),
    ]
    .map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())))
    .into()
}

/// A certificate as PEM text: with one CA, also the bundle to trust.
#[must_use]
pub fn pem_of(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

fn text<'a>(data: &'a Data, key: &'static str) -> Result<&'a str, Damage> {
    let value = data.get(key).filter(|value| !value.0.is_empty()).ok_or(Damage::Missing(key))?;
    std::str::from_utf8(&value.0).map_err(|_| Damage::Illegible(key))
}

fn read(data: &Data, generation: Option<u64>, names: &Names, now: SystemTime) -> Result<Ca, Damage> {
    text(data, GENERATION)?;
    let generation = generation.ok_or(Damage::Illegible(GENERATION))?;
    let illegible = |_| Damage::Illegible(CERTIFICATE);
    let pem = text(data, CERTIFICATE)?;
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(illegible)?;
    let key = KeyPair::from_pem(text(data, KEY)?).map_err(|_| Damage::Illegible(KEY))?;
    let (_, x509) = X509Certificate::from_der(&certificate).map_err(|_| Damage::Illegible(CERTIFICATE))?;
    if x509.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err(Damage::KeyMismatch);
    }
    if !x509.is_ca() {
        return Err(Damage::NoAuthority);
    }
    if !is_for(&x509, names) {
        return Err(Damage::OtherNames);
    }
    let validity = x509.validity();
    let (not_before, not_after) = (time(validity.not_before.timestamp()), time(validity.not_after.timestamp()));
    let ca = Ca { generation, key, not_before, not_after, certificate: certificate.clone() };
    if ca.is_valid_at(now) { Ok(ca) } else { Err(Damage::NotValidNow) }
}

/// Whether the CA may vouch for exactly the names of the Service: a Service that was renamed, or a cluster whose domain
/// changed, needs another.
fn is_for(ca: &X509Certificate<'_>, names: &Names) -> bool {
    let Ok(Some(constraints)) = ca.name_constraints() else { return false };
    let permitted = constraints.value.permitted_subtrees.as_deref().unwrap_or_default();
    let expected = names.service();
    permitted.len() == expected.len()
        && permitted.iter().zip(&expected).all(|(permitted, name)| permitted.base == GeneralName::DNSName(name))
}

fn time(seconds_since_1970: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds_since_1970).unwrap_or_default())
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
