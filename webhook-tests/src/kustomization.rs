use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::binaries::workspace;
use crate::control_plane::ControlPlane;
use crate::unique::suffix;

/// What kustomize is given, relative to the root of the workspace.
const SHIPPED: [&str; 5] = ["deploy", "kustomize", "kustomize/crds", "kustomize/namespaced", "kustomize/example"];

/// A copy of the shipped kustomizations, in which installations can be made
/// like the example: by copying its directory and editing the copy.
#[derive(Debug)]
pub struct Kustomization {
    root: PathBuf,
}

impl Kustomization {
    /// Copies them into the directory of a control plane, with which they go.
    ///
    /// # Errors
    ///
    /// If files cannot be copied.
    pub fn copy(control_plane: &ControlPlane) -> Result<Self> {
        let root = control_plane.dir().join(format!("kustomize-{}", suffix()));
        for dir in SHIPPED {
            copy_files(&workspace().join(dir), &root.join(dir))?;
        }
        Ok(Self { root })
    }

    /// The custom resource definitions alone.
    #[must_use]
    pub fn crds(&self) -> PathBuf {
        self.root.join("kustomize/crds")
    }

    /// The shipped example.
    #[must_use]
    pub fn example(&self) -> PathBuf {
        self.root.join("kustomize/example")
    }

    /// One more installation: the example with another name wherever it says
    /// `team-a`, so a controller `<team>-atomix` in namespace `<team>-system`
    /// that looks after `<team>` and `<team>-test`.
    ///
    /// # Errors
    ///
    /// If the example cannot be copied.
    pub fn for_team(&self, team: &str) -> Result<PathBuf> {
        let overlay = self.root.join("kustomize").join(team);
        copy_files(&self.example(), &overlay)?;
        let settings = overlay.join("installation.yaml");
        let text = fs::read_to_string(&settings).with_context(|| settings.display().to_string())?;
        fs::write(&settings, text.replace("team-a", team))?;
        Ok(overlay)
    }
}

/// Copies the files of a directory, and no directories in it.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).with_context(|| entry.path().display().to_string())?;
        }
    }
    Ok(())
}
