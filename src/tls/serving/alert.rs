//! Which TLS alert a handshake has failed with, as a label that takes few values.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// Why a handshake that ended in `error` has failed: the alert with which the client refused the certificate, the reason
/// for which the client's own was refused, or `tls` for any other fault of the client.
#[must_use]
pub fn reason(error: &io::Error) -> &'static str {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    let alert = match error {
        Some(Error::AlertReceived(alert)) => alert,
        Some(Error::NoCertificatesPresented) => return "client_certificate_missing",
        Some(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)) => return "client_name",
        Some(Error::InvalidCertificate(_)) => return "client_certificate",
        _ => return "tls",
    };
    match alert {
        AlertDescription::UnknownCA => "alert_unknown_ca",
        AlertDescription::BadCertificate => "alert_bad_certificate",
        AlertDescription::CertificateExpired => "alert_certificate_expired",
        AlertDescription::CertificateUnknown => "alert_certificate_unknown",
        AlertDescription::UnsupportedCertificate => "alert_unsupported_certificate",
        _ => "alert_other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_of_a_client_to_refuse_the_certificate_has_its_label() {
        let of = |error: Error| reason(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert_eq!(of(Error::AlertReceived(AlertDescription::UnknownCA)), "alert_unknown_ca");
        assert_eq!(of(Error::AlertReceived(AlertDescription::ProtocolVersion)), "alert_other");
        assert_eq!(of(Error::DecryptError), "tls");
        assert_eq!(of(Error::NoCertificatesPresented), "client_certificate_missing");
        assert_eq!(reason(&io::Error::other("reset")), "tls");
    }
}
