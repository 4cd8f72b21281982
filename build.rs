//! Compiles `proto/` into Rust and into the descriptors that the server's reflection shows; protox does it without protoc.

use std::env;
use std::error::Error;
use std::path::PathBuf;

use protox::prost::Message;

const FILES: [&str; 4] = [
    "proto/atomix/controller/controller.proto",
    "proto/atomix/protocols/backup/protocol.proto",
    "proto/atomix/protocols/log/protocol.proto",
    "proto/atomix/protocols/raft/protocol.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
