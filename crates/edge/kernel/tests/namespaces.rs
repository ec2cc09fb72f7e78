//! Tests against the real kernel, each in network namespaces of its own.

#[path = "namespaces/attach.rs"]
mod attach;
#[path = "namespaces/conntrack.rs"]
mod conntrack;
#[path = "namespaces/netns.rs"]
mod netns;
#[path = "namespaces/nflog.rs"]
mod nflog;
#[path = "namespaces/packets.rs"]
mod packets;
#[path = "namespaces/rtnl.rs"]
mod rtnl;

use std::process::Command;

use ocicat_kernel::netns::ScratchNamespace;

/// A namespace for a test, or none, said aloud, where this user may not have one.
fn scratch() -> Option<ScratchNamespace> {
    match ScratchNamespace::create("ock") {
        Ok(namespace) => Some(namespace),
        Err(error) if error.is_permission() => {
            println!("skipped: network namespaces need root: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Runs a program inside the namespace and returns what it printed.
fn exec(namespace: &ScratchNamespace, program: &[&str]) -> String {
    let output = Command::new("ip")
        .args(["netns", "exec", namespace.name()])
        .args(program)
        .output()
        .expect("iproute2 is installed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Loads rules with the `nft` program; tests are its only user.
fn nft(namespace: &ScratchNamespace, rules: &str) {
    exec(namespace, &["nft", rules]);
}
