//! Prints the reference of the custom resources: `make manifests` keeps it in `docs/`.

use anyhow::Result;
use webhook_tests::reference;

fn main() -> Result<()> {
    print!("{}", reference::render(&reference::definitions()?));
    Ok(())
}
