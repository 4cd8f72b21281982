//! Builds what Go builds for the tests, so that the first of them need not wait for it.

use std::path::Path;

use anyhow::Result;
use webhook_tests::binaries;

fn main() -> Result<()> {
    let builds: [fn() -> Result<&'static Path>; 5] = [
        binaries::controlplane,
        binaries::atomix_2019,
        binaries::atomix_2020,
        binaries::grpcurl,
        binaries::cert_manager,
    ];
    for build in builds {
        println!("{}", build()?.display());
    }
    for helm in binaries::helms()? {
        println!("{}", helm.display());
    }
    Ok(())
}
