//! The host's own links, and their changes.
//!
//! Read outside of the core: where a thousand workloads come at once, so do a thousand links that are
//! none of the host's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ocicat_compile::HostLink;
use ocicat_kernel::rtnl::{LinkWatch, Rtnl};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::core::Message;

/// Changes that come together are read together.
const SETTLE: Duration = Duration::from_millis(30);

/// Links by number.
pub type Links = BTreeMap<u32, HostLink>;

/// All links but the loopback and those of our workloads.
///
/// # Errors
/// If the kernel does not answer.
pub fn read(rtnl: &mut Rtnl, workload_prefix: &str) -> anyhow::Result<Links> {
    let mut addresses: BTreeMap<u32, Vec<IpAddr>> = BTreeMap::new();
    for address in rtnl.addresses()? {
        let of_link = addresses.entry(address.interface).or_default();
        of_link.push(address.net.addr());
    }
    let links = rtnl.links()?.into_iter();
    let ours = links.filter(|link| link.name != "lo" && !link.name.starts_with(workload_prefix));
    Ok(ours
        .map(|link| {
            let addresses = addresses.remove(&link.index).unwrap_or_default();
            let name = link.name;
            (link.index, HostLink { name, addresses })
        })
        .collect())
}

/// Tells the core when they change, until the core is gone.
pub async fn watch(core: mpsc::Sender<Message>, workload_prefix: String) {
    loop {
        if let Err(error) = try_watch(&core, &workload_prefix).await {
            tracing::warn!("watching links: {error:#}; trying again");
        }
        if core.is_closed() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

async fn try_watch(core: &mpsc::Sender<Message>, workload_prefix: &str) -> anyhow::Result<()> {
    let watch = LinkWatch::open()?;
    let mut rtnl = Rtnl::open()?;
    #[expect(
        deprecated,
        reason = "the watch owns its descriptor for as long as it lives"
    )]
    let mut watch = AsyncFd::new(watch)?;
    // What changed before the watch began.
    let mut known = read(&mut rtnl, workload_prefix)?;
    core.send(Message::Links(known.clone())).await?;
    loop {
        let mut guard = watch.readable_mut().await?;
        if !guard.get_inner_mut().changed()? {
            guard.clear_ready();
            continue;
        }
        tokio::time::sleep(SETTLE).await;
        let now = read(&mut rtnl, workload_prefix)?;
        if now != known {
            known.clone_from(&now);
            core.send(Message::Links(now)).await?;
        }
    }
}
