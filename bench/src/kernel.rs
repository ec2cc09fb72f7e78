//! A kernel of its own for the measured program: a network namespace.

use anyhow::{Context, ensure};
use ocicat_compile::{Compiler, Config, TABLE};
use ocicat_kernel::netns::{Namespace, ScratchNamespace};
use ocicat_nft::Connection;
use ocicat_nft::object::{TableId, Transaction};
use ocicat_node::{Attachment, Change, EndpointId};
use ocicat_policy::Engine;

use crate::meter::Meter;

/// The program of one host, in a namespace that goes when this is dropped.
pub struct Kernel {
    pub compiler: Compiler,
    connection: Connection,
    /// Its own, if it has one.
    namespace: Option<ScratchNamespace>,
}

impl Kernel {
    /// Compiles what the first commit said and puts it into an empty kernel.
    ///
    /// # Errors
    /// Without `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`, and if the kernel refuses the program.
    pub fn install(engine: &Engine, delta: &[Change], meter: &mut Meter) -> anyhow::Result<Self> {
        let namespace = ScratchNamespace::create("ocicat-bench").context("a network namespace")?;
        let mut kernel = Self::install_in(&namespace, engine, delta, meter)?;
        kernel.namespace = Some(namespace);
        Ok(kernel)
    }

    /// The same in a namespace that is there and has no program.
    ///
    /// # Errors
    /// As for [`Kernel::install`].
    pub fn install_in(
        namespace: &Namespace,
        engine: &Engine,
        delta: &[Change],
        meter: &mut Meter,
    ) -> anyhow::Result<Self> {
        let mut connection = namespace.run(Connection::open)??;
        let mut compiler = Compiler::new(Config::default());
        let attachments = attachments(engine);
        let transaction = meter.measure("install", "compile", 0, || {
            let _ = compiler.update(delta, &attachments);
            compiler.install(None)
        });
        meter
            .measure("install", "commit", 0, || connection.commit(&transaction))
            .context("installing the program")?;
        Ok(Self {
            compiler,
            connection,
            namespace: None,
        })
    }

    /// Makes a change of the tables a change of the kernel: compiled, committed, and, after packets in
    /// flight have left, what it replaced removed.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn change(
        &mut self,
        delta: &[Change],
        meter: &mut Meter,
        work: &str,
        index: usize,
    ) -> anyhow::Result<()> {
        let update = meter.measure(work, "compile", index, || self.compiler.update(delta, &[]));
        let transactions: Vec<Transaction> = update.transactions().collect();
        meter.measure(work, "commit", index, || {
            transactions
                .iter()
                .try_for_each(|transaction| self.connection.commit(transaction))
        })?;
        if self.compiler.has_garbage() {
            ocicat_kernel::grace::wait();
            let ops = meter.measure(work, "collect", index, || self.compiler.collect());
            let transaction = Transaction {
                table: TableId::inet(TABLE),
                ops,
            };
            meter.measure(work, "remove", index, || {
                self.connection.commit(&transaction)
            })?;
        }
        Ok(())
    }

    /// Whether the kernel holds what the compiler believes.
    ///
    /// # Errors
    /// If it does not, or cannot be asked.
    pub fn verify(&mut self) -> anyhow::Result<()> {
        let found = self.connection.dump_table(&TableId::inet(TABLE))?;
        let found = found.context("the table is gone")?;
        let differences = self.compiler.differences(&found);
        ensure!(
            differences.is_empty(),
            "the kernel holds another program: {:?}",
            &differences[..1]
        );
        Ok(())
    }
}

/// The interface of a local workload, by its place among them.
#[must_use]
pub fn interface(number: usize) -> String {
    format!("ocw{number:011x}")
}

/// The Ethernet address of a local workload.
#[must_use]
pub fn mac(number: usize) -> [u8; 6] {
    let [.., high, low] = number.to_be_bytes();
    [2, 0, 0, 0, high, low]
}

fn attachments(engine: &Engine) -> Vec<(EndpointId, Option<Attachment>)> {
    let attachment =
        |(number, (id, policy)): (usize, (&EndpointId, &ocicat_node::EndpointPolicy))| {
            let attachment = Attachment {
                interface: interface(number),
                mac: mac(number),
                addresses: policy.addresses.iter().map(|local| local.address).collect(),
            };
            (id.clone(), Some(attachment))
        };
    engine
        .local_endpoints()
        .enumerate()
        .map(attachment)
        .collect()
}
