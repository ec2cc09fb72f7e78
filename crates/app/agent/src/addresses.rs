//! IPAM at the edge: runs the plans of `engine/ipam` against the API.
//!
//! A plan that loses the race for its block is made again from a fresh snapshot, at most
//! [`ATTEMPTS`] times.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ocicat_api::core::IpamBlock;
use ocicat_api::{Family, Kind, Object};
use ocicat_client::{Client, Error, Selection};
use ocicat_ipam::{Claim, Plan, Request, Snapshot, Write};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// How often a lost race is run again.
const ATTEMPTS: usize = 16;
/// An address rests this long before it is given to another workload, if others are free.
const REST: Duration = Duration::from_secs(30);

/// Gives out addresses of this node.
pub struct Addresses {
    client: Client,
    node: String,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Read at the first request and after each lost race.
    snapshot: Option<Snapshot>,
    resting: BTreeMap<IpAddr, Instant>,
}

impl Addresses {
    pub fn new(client: Client, node: &str) -> Self {
        Self {
            client,
            node: node.to_owned(),
            inner: Mutex::default(),
        }
    }

    /// One address of each family that has an enabled pool, or exactly `wanted`.
    ///
    /// # Errors
    /// If there is no pool at all, pools are exhausted, or a wanted address is taken.
    pub async fn assign(&self, handle: &str, wanted: &[IpAddr]) -> anyhow::Result<Vec<IpAddr>> {
        let mut inner = self.inner.lock().await;
        let mut addresses = Vec::new();
        for address in wanted {
            let claim = Claim {
                node: &self.node,
                handle,
                address: *address,
            };
            addresses.push(
                self.run(&mut inner, |s, _| ocicat_ipam::claim(s, &claim))
                    .await?,
            );
        }
        if !wanted.is_empty() {
            return Ok(addresses);
        }
        // A pool that came after the last snapshot counts too.
        inner.snapshot = Some(self.read_pools(inner.snapshot.take()).await?);
        for family in [Family::Ipv4, Family::Ipv6] {
            let plan = |snapshot: &Snapshot, resting: &BTreeSet<IpAddr>| {
                let request = Request {
                    node: &self.node,
                    handle,
                    family,
                    resting,
                };
                match ocicat_ipam::assign(snapshot, &request) {
                    Err(ocicat_ipam::AssignError::NoPool(_)) => Ok(None),
                    plan => plan.map(Some),
                }
            };
            addresses.extend(self.run_optional(&mut inner, plan).await?);
        }
        if addresses.is_empty() {
            bail!("no enabled IPPool; create one");
        }
        Ok(addresses)
    }

    /// Gives back everything the handle holds. Nothing to give back is success.
    ///
    /// # Errors
    /// If the API cannot be asked.
    pub async fn release(&self, handle: &str) -> anyhow::Result<()> {
        let mut inner = self.inner.lock().await;
        for _ in 0..ATTEMPTS {
            let snapshot = self.snapshot(&mut inner).await?;
            let plans = ocicat_ipam::release(&snapshot, handle);
            let Some((freed, write)) = plans.into_iter().next() else {
                inner.snapshot = Some(snapshot);
                return Ok(());
            };
            match self.write(&write).await {
                Ok(block) => {
                    inner.snapshot = Some(with(snapshot, block));
                    let now = Instant::now();
                    inner
                        .resting
                        .extend(freed.into_iter().map(|address| (address, now)));
                }
                Err(Error::Conflict { .. } | Error::NotFound { .. }) => inner.snapshot = None,
                Err(error) => return Err(error).context("releasing addresses"),
            }
        }
        bail!("releasing addresses: others kept changing the block")
    }

    async fn run(
        &self,
        inner: &mut Inner,
        plan: impl Fn(&Snapshot, &BTreeSet<IpAddr>) -> Result<Plan, ocicat_ipam::AssignError>,
    ) -> anyhow::Result<IpAddr> {
        let address = self
            .run_optional(inner, |s, resting| plan(s, resting).map(Some))
            .await?;
        address.context("a plan without an address")
    }

    async fn run_optional(
        &self,
        inner: &mut Inner,
        plan: impl Fn(&Snapshot, &BTreeSet<IpAddr>) -> Result<Option<Plan>, ocicat_ipam::AssignError>,
    ) -> anyhow::Result<Option<IpAddr>> {
        inner.resting.retain(|_, since| since.elapsed() < REST);
        let resting: BTreeSet<IpAddr> = inner.resting.keys().copied().collect();
        for _ in 0..ATTEMPTS {
            let snapshot = self.snapshot(inner).await?;
            let plan = match plan(&snapshot, &resting) {
                Ok(plan) => plan,
                Err(error) => {
                    // What we know may be old: the next request reads again.
                    inner.snapshot = None;
                    return Err(error.into());
                }
            };
            let Some(Plan { address, write }) = plan else {
                inner.snapshot = Some(snapshot);
                return Ok(None);
            };
            let Some(write) = write else {
                inner.snapshot = Some(snapshot);
                return Ok(Some(address));
            };
            match self.write(&write).await {
                Ok(block) => {
                    inner.snapshot = Some(with(snapshot, block));
                    return Ok(Some(address));
                }
                Err(
                    Error::Conflict { .. } | Error::AlreadyExists { .. } | Error::NotFound { .. },
                ) => {
                    inner.snapshot = None;
                }
                Err(error) => return Err(error).context("assigning an address"),
            }
        }
        bail!("assigning an address: others took every block we tried; try again")
    }

    async fn snapshot(&self, inner: &mut Inner) -> anyhow::Result<Snapshot> {
        match inner.snapshot.take() {
            Some(snapshot) => Ok(snapshot),
            None => {
                let mut snapshot = self.read_pools(None).await?;
                for object in self.list(Kind::IpamBlock).await? {
                    if let Object::IpamBlock(block) = object {
                        snapshot.blocks.push(block);
                    }
                }
                Ok(snapshot)
            }
        }
    }

    /// The pools as they are now, with the blocks already known, or all blocks if none are.
    async fn read_pools(&self, known: Option<Snapshot>) -> anyhow::Result<Snapshot> {
        let mut pools = Vec::new();
        for object in self.list(Kind::IpPool).await? {
            if let Object::IpPool(pool) = object {
                pools.push(pool);
            }
        }
        if let Some(known) = known {
            return Ok(Snapshot {
                pools,
                blocks: known.blocks,
            });
        }
        let mut blocks = Vec::new();
        for object in self.list(Kind::IpamBlock).await? {
            if let Object::IpamBlock(block) = object {
                blocks.push(block);
            }
        }
        Ok(Snapshot { pools, blocks })
    }

    async fn list(&self, kind: Kind) -> anyhow::Result<Vec<Object>> {
        let list = self.client.list(kind, &Selection::all()).await;
        let list = list.with_context(|| format!("listing {kind}"))?;
        let decode = |item: &bytes::Bytes| ocicat_api::decode::decode_json(item).object;
        Ok(list.items.iter().filter_map(decode).collect())
    }

    async fn write(&self, write: &Write) -> Result<IpamBlock, Error> {
        let (written, block) = match write {
            Write::Create(block) => (
                self.client.create(Kind::IpamBlock, &encode(block)).await?,
                block,
            ),
            Write::Replace(block) => (
                self.client.replace(Kind::IpamBlock, &encode(block)).await?,
                block,
            ),
        };
        let mut block = block.clone();
        block.metadata.resource_version = written["metadata"]["resourceVersion"]
            .as_str()
            .map(Into::into);
        Ok(block)
    }
}

fn with(mut snapshot: Snapshot, block: IpamBlock) -> Snapshot {
    snapshot.blocks.retain(|known| known.cidr != block.cidr);
    snapshot.blocks.push(block);
    snapshot
}

/// The block as the API stores it: `allocations` by ordinal, each an index into `attributes`.
fn encode(block: &IpamBlock) -> Value {
    let size = ocicat_ipam::size(&block.cidr);
    let mut allocations = vec![Value::Null; size as usize];
    let mut attributes = Vec::new();
    for (ordinal, handle) in &block.allocations {
        if let Some(slot) = allocations.get_mut(*ordinal as usize) {
            *slot = json!(attributes.len());
            attributes.push(json!({ "handle_id": handle }));
        }
    }
    let unallocated: Vec<u32> = (0..size)
        .filter(|ordinal| !block.allocations.contains_key(ordinal))
        .collect();
    let mut metadata = json!({ "name": block.metadata.name });
    if let Some(version) = &block.metadata.resource_version {
        metadata["resourceVersion"] = json!(version);
    }
    let affinity = block.node.as_ref().map(|node| format!("host:{node}"));
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "IPAMBlock",
        "metadata": metadata,
        "spec": {
            "cidr": block.cidr.to_string(),
            "affinity": affinity,
            "strictAffinity": false,
            "deleted": false,
            "allocations": allocations,
            "attributes": attributes,
            "unallocated": unallocated,
        },
    })
}
