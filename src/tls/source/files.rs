//! Files in a directory, as a kubelet mounts a Secret, or from any other program.
//!
//! They are read every few seconds and compared: a watch of the files themselves misses the swap of a kubelet, which
//! replaces the directory behind the symbolic link `..data`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use tokio::time::sleep;

use super::{CA, CERTIFICATE, Found, KEY, Seen};

/// Pause between two reads.
const PAUSE: Duration = Duration::from_secs(5);
/// Longest file that is read, in bytes: a Secret has no longer ones.
const MAX_FILE: u64 = 1024 * 1024;
/// The link that a kubelet swaps.
const DATA: &str = "..data";

/// What the files of `directory` are.
pub(super) fn follow(directory: PathBuf) -> BoxStream<'static, Seen> {
    unfold((directory, None), |(directory, last)| async move {
        loop {
            if last.is_some() {
                sleep(PAUSE).await;
            }
            let from = directory.clone();
            // Files may be on a slow disk. A read that panicked is made again.
            #[expect(clippy::disallowed_methods, reason = "one read: it is waited for, and made again")]
            let Ok(seen) = tokio::task::spawn_blocking(move || read_all(&from)).await else { continue };
            if last.as_ref() != Some(&seen) {
                return Some((seen.clone(), (directory, Some(seen))));
            }
        }
    })
    .boxed()
}

fn read_all(directory: &Path) -> Seen {
    read(directory).map_err(|error| format!("{}: {error}", directory.display()))
}

fn read(directory: &Path) -> io::Result<Found> {
    // All from one directory: while a kubelet swaps it, two files behind the link could be of different pairs.
    let directory = match fs::read_link(directory.join(DATA)) {
        Ok(current) => directory.join(current),
        Err(_) => directory.to_owned(),
    };
    fs::metadata(&directory)?;
    let part = |name| match File::open(directory.join(name)) {
        Ok(file) => {
            let mut content = Vec::new();
            file.take(MAX_FILE).read_to_end(&mut content)?;
            Ok(Some(content))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    Ok(Found { certificate: part(CERTIFICATE)?, key: part(KEY)?, ca: part(CA)? })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::time::{Instant, timeout};

    use super::*;

    /// A directory of one test, removed at its end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("atomix-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, content: &str) {
            fs::create_dir_all(self.0.join(name).parent().unwrap()).unwrap();
            fs::write(self.0.join(name), content).unwrap();
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn parts(certificate: &str, key: &str) -> Found {
        let part = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
        Found { certificate: part(certificate), key: part(key), ca: None }
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_seen_within_seconds_and_nothing_is_said_without_one() {
        let directory = Directory::new("files");
        let mut seen = follow(directory.0.clone());
        assert_eq!(seen.next().await, Some(Ok(parts("", ""))));
        directory.write(CERTIFICATE, "c1");
        directory.write(KEY, "k1");
        let changed = Instant::now();
        assert_eq!(seen.next().await, Some(Ok(parts("c1", "k1"))));
        assert!(changed.elapsed() < PAUSE * 2);
        assert!(timeout(PAUSE * 20, seen.next()).await.is_err());
        fs::remove_dir_all(&directory.0).unwrap();
        // A read may come while the files go one by one.
        let why = loop {
            if let Some(Err(why)) = seen.next().await {
                break why;
            }
        };
        assert!(why.contains("No such file"), "{why}");
    }

    #[test]
    fn a_kubelets_swap_is_followed_and_never_read_in_halves() {
        let directory = Directory::new("swap");
        for (number, name) in ["..2026_01", "..2026_02"].iter().enumerate() {
            directory.write(&format!("{name}/{CERTIFICATE}"), &format!("c{number}"));
            directory.write(&format!("{name}/{KEY}"), &format!("k{number}"));
        }
        symlink("..2026_01", directory.0.join(DATA)).unwrap();
        // What stands in the directory itself are links to what is behind the link; they are not what counts.
        directory.write(CERTIFICATE, "c0");
        directory.write(KEY, "k1");
        assert_eq!(read_all(&directory.0), Ok(parts("c0", "k0")));
        symlink("..2026_02", directory.0.join("..data_tmp")).unwrap();
        fs::rename(directory.0.join("..data_tmp"), directory.0.join(DATA)).unwrap();
        assert_eq!(read_all(&directory.0), Ok(parts("c1", "k1")));
    }
}
