//! The files that arguments name, found as `kubectl create -f` finds them.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::Error;

/// Extensions of the files that are read in a directory.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// The files of an argument: itself, or the manifests in a directory, by name.
///
/// # Errors
/// [`Error`] if a directory cannot be read, or has no manifest.
pub(super) fn of(argument: &Path, recursive: bool) -> Result<Vec<PathBuf>, Error> {
    if !argument.is_dir() {
        return Ok(vec![argument.to_owned()]);
    }
    let mut files = Vec::new();
    walk(argument, recursive, &mut files)
        .map_err(|source| Error::Read { file: argument.display().to_string(), source })?;
    if files.is_empty() { Err(Error::Empty { directory: argument.display().to_string() }) } else { Ok(files) }
}

fn walk(directory: &Path, recursive: bool, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // Links to directories are not followed, so that a loop of them ends.
        if entry.file_type()?.is_dir() {
            if recursive {
                walk(&path, recursive, files)?;
            }
        } else if is_manifest(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_known_by_their_extension() {
        for (path, expected) in [
            ("a.yaml", true),
            ("a.yml", true),
            ("b/a.b.json", true),
            ("a.YAML", false),
            ("a.txt", false),
            ("yaml", false),
            (".yaml", false),
            ("a.yaml~", false),
        ] {
            assert_eq!(is_manifest(Path::new(path)), expected, "{path}");
        }
    }
}
