//! Makes certificates: a CA that can sign for one Service and nothing else, and its leaves.
//!
//! Time comes in as an argument; only the keys and serial numbers are random.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, SanType,
    SerialNumber,
};
use ring::rand::{self, SystemRandom};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::periods::Periods;
use crate::tls::names::Names;
use crate::tls::pair::Validity;

/// Certificates are valid this long before they are made, for clocks that are behind.
pub(super) const BACK_DATED: Duration = Duration::from_secs(24 * 60 * 60);
/// Characters of the controller's name that fit into the CA's common name, which has at most 64.
const NAME_IN_SUBJECT: usize = 24;

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its parts do not fit together.
    #[error("making a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The system gave no random bytes.
    #[error("the system's source of randomness failed")]
    Random,
}

/// A certificate authority with its key, which never appears in its debug output.
#[derive(Debug)]
pub struct Ca {
    /// Counts the CAs of this installation, from 1.
    pub generation: u64,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    pub(super) key: KeyPair,
    pub(super) common_name: String,
    /// The DNS names that it may sign for.
    pub(super) permitted: Vec<String>,
    /// When it starts to be valid.
    pub not_before: SystemTime,
    /// When it stops to be valid.
    pub not_after: SystemTime,
}

/// A serving certificate with its key, which never appears in its debug output.
#[derive(Debug)]
pub struct Leaf {
    /// The leaf and what leads from it to the CA, without the CA itself.
    pub chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// When it starts to be valid.
    pub not_before: SystemTime,
    /// When it stops to be valid.
    pub not_after: SystemTime,
    /// When it should be replaced.
    pub renew_at: SystemTime,
}

impl Ca {
    /// A new CA for the Service of `names`.
    ///
    /// # Errors
    /// [`Error`] if the names cannot be written into a certificate, or randomness fails.
    pub fn mint(names: &Names, generation: u64, validity: Duration, now: SystemTime) -> Result<Self, Error> {
        let (not_before, not_after) = (seconds(now - BACK_DATED), seconds(now + validity));
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let common_name = subject(names, generation)?;
        let permitted = names.service().to_vec();
        let params = ca_params(&common_name, &permitted, (not_before, not_after))?;
        let certificate = params.self_signed(&key)?.into();
        Ok(Self { generation, certificate, key, common_name, permitted, not_before, not_after })
    }

    /// Whether it can sign at `now`.
    #[must_use]
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// When it was made.
    #[must_use]
    pub fn made_at(&self) -> SystemTime {
        self.not_before + BACK_DATED
    }

    /// The certificate of `next` signed by this CA: it leads clients that trust this one only to `next`. It has the
    /// subject, the key and the key identifier of `next`, and the validity and the names that both have.
    ///
    /// # Errors
    /// [`Error`] if the certificate cannot be made.
    pub fn cross_sign(&self, next: &Self) -> Result<CertificateDer<'static>, Error> {
        let validity = (self.not_before.max(next.not_before), self.not_after.min(next.not_after));
        let permitted: Vec<_> = next.permitted.iter().filter(|name| self.permitted.contains(name)).cloned().collect();
        let mut params = ca_params(&next.common_name, &permitted, validity)?;
        // Leaves only below it: the next CA but one is signed by the next.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Ok(params.signed_by(&next.key, &self.issuer()?)?.into())
    }

    /// A new serving certificate for `names`, with a key of its own that exists nowhere else. It is valid since this CA
    /// is: with the time of a clock that is days ahead of the API server's, it would not be valid there yet. `cross` is
    /// this CA's own certificate signed by the one before it, for clients that trust that one only.
    ///
    /// # Errors
    /// [`Error`] if the names cannot be written into a certificate, or randomness fails.
    pub fn leaf(
        &self,
        names: &Names,
        cross: Option<&CertificateDer<'static>>,
        validity: Duration,
        now: SystemTime,
    ) -> Result<Leaf, Error> {
        let not_before = self.not_before;
        let not_after = seconds(now + validity).min(self.not_after);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(not_before, not_after)?;
        // Clients read the alternative names; a subject of 63 + 253 characters would not fit.
        params.distinguished_name = DistinguishedName::new();
        let cross = cross.filter(|cross| Validity::of(cross).is_some_and(|validity| validity.contains(now)));
        let of_cross = cross.map(permitted_by);
        // With a name that a CA of the chain may not sign for, the whole certificate would be refused.
        let permitted = |name: &String| {
            self.permitted.contains(name) && of_cross.as_ref().is_none_or(|permitted| permitted.contains(name))
        };
        for name in names.service().into_iter().filter(permitted) {
            params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer()?)?.into();
        Ok(Leaf {
            chain: std::iter::once(certificate).chain(cross.cloned()).collect(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            not_before,
            not_after,
            renew_at: renewal(now, not_after)?,
        })
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, Error> {
        Ok(Issuer::from_ca_cert_der(&self.certificate, &self.key)?)
    }
}

/// The DNS names that a CA may sign for; none if it is not constrained, which ours always are.
pub(super) fn permitted_by(ca: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, ca)) = X509Certificate::from_der(ca) else { return Vec::new() };
    let Ok(Some(constraints)) = ca.name_constraints() else { return Vec::new() };
    let permitted = constraints.value.permitted_subtrees.as_deref().unwrap_or_default();
    let name = |base: &GeneralName<'_>| match base {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    permitted.iter().filter_map(|subtree| name(&subtree.base)).collect()
}

fn params(not_before: SystemTime, not_after: SystemTime) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.not_before = OffsetDateTime::from(not_before);
    params.not_after = OffsetDateTime::from(not_after);
    params.serial_number = Some(SerialNumber::from_slice(&random::<16>()?));
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn ca_params(
    common_name: &str,
    permitted: &[String],
    (not_before, not_after): (SystemTime, SystemTime),
) -> Result<CertificateParams, Error> {
    let mut params = params(not_before, not_after)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    // One level below it, for the next CA signed by this one.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.name_constraints = Some(constraints(permitted));
    Ok(params)
}

/// Unique, so that no two CAs with different keys share a subject: verifiers choose the issuer by it.
fn subject(names: &Names, generation: u64) -> Result<String, Error> {
    let unique = u32::from_be_bytes(random()?);
    let name: String = names.controller().chars().take(NAME_IN_SUBJECT).collect();
    Ok(format!("{name} CA {generation} {unique:08x}"))
}

/// A name constraint for DNS names says nothing of addresses, so those are excluded.
fn constraints(permitted: &[String]) -> NameConstraints {
    NameConstraints {
        permitted_subtrees: permitted.iter().cloned().map(GeneralSubtree::DnsName).collect(),
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    }
}

/// When a certificate that is made now should be replaced, with a random share of the longest jitter.
fn renewal(now: SystemTime, not_after: SystemTime) -> Result<SystemTime, Error> {
    let left = not_after.duration_since(now).unwrap_or_default();
    let [jitter] = random::<1>()?;
    let jitter = Periods::longest_jitter(left) * u32::from(jitter) / u32::from(u8::MAX);
    Ok(now + Periods::leaf_replaced_after(left).saturating_sub(jitter))
}

/// Certificates know whole seconds only.
fn seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    Ok(rand::generate(&SystemRandom::new()).map_err(|_| Error::Random)?.expose())
}

#[cfg(test)]
#[path = "issue_tests.rs"]
mod tests;
