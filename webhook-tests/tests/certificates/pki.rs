//! Authorities and certificates that are not the controller's, and the files that they are in.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use webhook_tests::suffix;

use crate::wire::HOST;

/// A certificate and its key, in PEM.
pub type Pair = (String, String);

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", suffix()));
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// For the webhooks' Service.
    pub fn leaf(&self) -> Pair {
        self.sign(&leaf_of(&[HOST]))
    }

    pub fn expired_leaf(&self) -> Pair {
        let mut params = leaf_of(&[HOST]);
        params.not_after = (SystemTime::now() - Duration::from_secs(60)).into();
        self.sign(&params)
    }

    /// For a client that calls itself `name`.
    pub fn client(&self, name: &str) -> Pair {
        let mut params = leaf_of(&[]);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.0).expect("a certificate").pem(), key.serialize_pem())
    }
}

fn leaf_of(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).expect("parameters")
}

/// A directory of one test, removed at its end.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("webhook-tests-certificates-{}", suffix()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, content).expect("a file");
        path
    }

    /// Puts a pair and its authority there as a kubelet does: into a new directory, to which a link is swapped.
    pub fn swap(&self, (certificate, key): &Pair, ca: &str) {
        // That before the former one: the controller may be reading what the link pointed to until now.
        let former = fs::read_link(self.0.join("..data")).ok();
        for entry in fs::read_dir(&self.0).expect("a directory") {
            let name = entry.expect("an entry").file_name();
            let is_version = name.to_string_lossy().starts_with("..version-");
            if is_version && former.as_deref() != Some(Path::new(&name)) {
                fs::remove_dir_all(self.0.join(name)).expect("removed");
            }
        }
        let version = format!("..version-{}", suffix());
        for (name, content) in [("tls.crt", certificate.as_str()), ("tls.key", key), ("ca.crt", ca)] {
            self.write(&format!("{version}/{name}"), content);
            let _ = symlink(Path::new("..data").join(name), self.0.join(name));
        }
        symlink(&version, self.0.join("..data_tmp")).expect("a link");
        fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).expect("a swap");
    }

    /// As an option of the controller has it.
    pub fn source(&self) -> String {
        format!("files:{}", self.0.display())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
