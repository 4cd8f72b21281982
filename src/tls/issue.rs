//! Making certificates: a CA that can vouch for one Service and nothing else, and its leaves.
//!
//! Time comes in as an argument; only the keys and serial numbers are random.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, SanType,
    SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use super::names::Names;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a CA is valid. Nothing renews it yet: once rotation does, this becomes 90 days.
const CA_VALIDITY: Duration = DAY.saturating_mul(3650);
/// How long a leaf is valid, unless its CA expires earlier.
const LEAF_VALIDITY: Duration = DAY.saturating_mul(7);
/// Certificates are valid this long before they are made, for clocks that are behind.
const BACK_DATED: Duration = DAY;
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
pub struct Ca {
    /// Counts the CAs of this installation, from 1.
    pub generation: u64,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: KeyPair,
    /// When it starts to be valid.
    pub not_before: SystemTime,
    /// When it stops to be valid.
    pub not_after: SystemTime,
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca")
            .field("generation", &self.generation)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// A serving certificate with its key, which never appears in its debug output.
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

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Ca {
    /// A new CA for the Service of `names`.
    ///
    /// # Errors
    /// [`Error`] if the names cannot be written into a certificate, or randomness fails.
    pub fn mint(names: &Names, generation: u64, now: SystemTime) -> Result<Self, Error> {
        let (not_before, not_after) = (seconds(now - BACK_DATED), seconds(now + CA_VALIDITY));
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(not_before, not_after)?;
        params.distinguished_name = subject(names, generation)?;
        // One level below it, for the next CA signed by this one.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        params.name_constraints = Some(constraints(names));
        let certificate = params.self_signed(&key)?.into();
        Ok(Self { generation, certificate, key, not_before, not_after })
    }

    /// Whether it may vouch for anything at `now`.
    #[must_use]
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A new serving certificate for `names`, with a key of its own that exists nowhere else.
    ///
    /// # Errors
    /// [`Error`] if the names cannot be written into a certificate, or randomness fails.
    pub fn leaf(&self, names: &Names, now: SystemTime) -> Result<Leaf, Error> {
        let not_before = seconds(now - BACK_DATED).max(self.not_before);
        let not_after = seconds(now + LEAF_VALIDITY).min(self.not_after);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(not_before, not_after)?;
        // The names stand where clients look for them; a subject of 63 + 253 characters would not fit.
        params.distinguished_name = DistinguishedName::new();
        for name in names.service() {
            params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key)?;
        let certificate = params.signed_by(&key, &issuer)?.into();
        Ok(Leaf {
            chain: vec![certificate],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            not_before,
            not_after,
            renew_at: renewal(now, not_after)?,
        })
    }
}

fn params(not_before: SystemTime, not_after: SystemTime) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.not_before = OffsetDateTime::from(not_before);
    params.not_after = OffsetDateTime::from(not_after);
    params.serial_number = Some(SerialNumber::from_slice(&random::<16>()?));
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Unique, so that no two CAs with different keys share a subject: verifiers choose the issuer by it.
fn subject(names: &Names, generation: u64) -> Result<DistinguishedName, Error> {
    let unique = u32::from_be_bytes(random()?);
    let mut subject = DistinguishedName::new();
    let name: String = names.controller().chars().take(NAME_IN_SUBJECT).collect();
    subject.push(DnType::CommonName, format!("{name} CA {generation} {unique:08x}"));
    Ok(subject)
}

/// A name constraint for DNS names says nothing of addresses, so those are excluded.
pub(super) fn constraints(names: &Names) -> NameConstraints {
    NameConstraints {
        permitted_subtrees: names.service().into_iter().map(GeneralSubtree::DnsName).collect(),
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    }
}

/// After two thirds of the time left, or up to a tenth earlier: replicas that started together need not renew so.
fn renewal(now: SystemTime, not_after: SystemTime) -> Result<SystemTime, Error> {
    let left = not_after.duration_since(now).unwrap_or_default();
    let [jitter] = random::<1>()?;
    Ok(now + (left * 2 / 3).saturating_sub(left * u32::from(jitter) / (10 * u32::from(u8::MAX))))
}

/// Certificates know whole seconds only.
fn seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let provider = rustls::crypto::ring::default_provider();
    provider.secure_random.fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "issue_tests.rs"]
mod tests;
