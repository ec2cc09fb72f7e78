//! The calculation's results, into the kernel.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context;
use ocicat_compile::TABLE;
use ocicat_node::{Attachment, EndpointId};
use ocicat_program::nft::{Ruleset, TableId, Transaction};

use crate::verify::Snapshot;

use super::{COLLECT_AFTER, Core, WALK_AFTER, WALK_AGAIN_AFTER, WALKS_APART};

/// A table of so many prefixes is compared whole whenever somebody else has committed something; a
/// larger one only if its base chains are gone, and else at the next audit.
const AUDITED_AT_ONCE: usize = 5_000;

/// How long one audit interprets the program.
const INTERPRET_FOR: std::time::Duration = std::time::Duration::from_millis(20);

/// Changed attachments; `None` for those that are gone.
pub(super) type Attachments = [(EndpointId, Option<Attachment>)];

impl Core {
    /// Calculates, programs and reports. A transaction that the kernel refuses is followed by a
    /// new program beside the one in force; if that fails too, what is in force stays, and it is
    /// tried again every second.
    pub(super) fn bring_into_force(&mut self, attachments: &Attachments) {
        match self.try_bring_into_force(attachments) {
            Ok(()) => self.failure = None,
            Err(error) => {
                tracing::error!("the kernel keeps its last program: {error:#}");
                self.failure = Some(format!("{error:#}"));
            }
        }
        self.report();
    }

    fn try_bring_into_force(&mut self, attachments: &Attachments) -> anyhow::Result<()> {
        let start = Instant::now();
        let mut whole = self.configure()? || self.must_install;
        let tried = self.retry_suspended();
        whole |= !tried.is_empty();
        let commit = self.engine.commit();
        self.take_reports(&commit);
        let update = self.compiler.update(&commit.delta, attachments);
        self.publish_outcomes(&commit.delta);
        whole |= self.keep_own_connection(&tried);
        self.want_auto_endpoints();
        self.publish_attachments(attachments);
        self.publish_host_links();
        let touches_hosts = self.compiler.has_hosts() && !commit.delta.is_empty();
        if !self.in_force || self.failure.is_some() || update.replace || whole {
            self.install()?;
            self.must_install = false;
            self.rest_from_trial(&tried, start);
        } else {
            let transactions: Vec<Transaction> = update.transactions().collect();
            if transactions.is_empty() {
                self.note_host_commit(false);
                return self.sync_routes();
            }
            let refused = transactions.iter().find_map(|step| self.commit(step).err());
            if let Some(error) = refused {
                tracing::error!("the kernel refused a change; installing anew: {error}");
                self.install()?;
            }
        }
        self.commits += 1;
        self.filter_reverse_paths();
        self.note_host_commit(touches_hosts);
        let now = Instant::now();
        if self.compiler.has_garbage() {
            self.collect_at.get_or_insert(now + COLLECT_AFTER);
        }
        let earliest = (now + WALK_AFTER).max(self.last_walk + WALKS_APART);
        self.walk_at.get_or_insert(earliest);
        self.walk_again_at = Some(now + WALK_AGAIN_AFTER);
        self.sync_routes()
    }

    pub(super) fn take_reports(&mut self, commit: &ocicat_policy::Commit) {
        for key in &commit.removed {
            self.fares.remove(key);
        }
        for fare in &commit.reports {
            self.note_fare(fare.clone());
        }
    }

    /// Puts the whole program beside the one in force, turns over to it, and removes the other.
    pub(super) fn install(&mut self) -> anyhow::Result<()> {
        if !self.in_force {
            ocicat_kernel::sysctl::enable_forwarding()?;
            let attachments: Vec<_> = self.attachments().map(|(id, a)| (id, Some(a))).collect();
            // The operations are those of a change; installing writes the whole.
            let _ = self.compiler.update(&[], &attachments);
            self.publish_attachments(&attachments);
        }
        self.count_before_removal();
        let found = self.dump()?;
        let transaction = self.compiler.install(found.as_ref());
        self.commit(&transaction)
            .context("installing the program")?;
        self.in_force = true;
        self.counted.restart();
        ocicat_kernel::grace::wait();
        if let Some(found) = self.dump()? {
            let sweep = self.compiler.sweep(&found);
            if !sweep.ops.is_empty() {
                self.commit(&sweep).context("removing the former program")?;
            }
        }
        let [prefixes, stacks, rows, cells] = self.compiler.size();
        let epoch = self.compiler.epoch();
        tracing::info!(%epoch, prefixes, stacks, rows, cells, "policy is in force");
        Ok(())
    }

    /// Removes what the last commits took out of use.
    pub(super) fn collect(&mut self) {
        self.collect_at = None;
        if !self.in_force || !self.compiler.has_garbage() {
            return;
        }
        self.count_before_removal();
        ocicat_kernel::grace::wait();
        let ops = self.compiler.collect();
        let transaction = Transaction {
            table: TableId::inet(TABLE),
            ops,
        };
        if let Err(error) = self.commit(&transaction) {
            tracing::error!("cannot remove what is out of use; installing anew: {error}");
            if let Err(error) = self.install() {
                self.failure = Some(format!("{error:#}"));
            }
        }
    }

    /// Compares the kernel with what shall be in force, and repairs.
    pub(super) fn audit(&mut self) {
        self.collect();
        let differences = match self.dump() {
            Ok(Some(found)) => {
                let mut differences = self.compiler.differences(&found);
                if differences.is_empty() {
                    differences = self.interpret(&found);
                }
                differences
            }
            Ok(None) => vec!["the table is gone".to_owned()],
            Err(error) => {
                tracing::warn!("cannot read the table back: {error:#}");
                return;
            }
        };
        if !differences.is_empty() {
            for difference in differences.iter().take(10) {
                tracing::error!(
                    difference,
                    "the kernel's table was changed by somebody else"
                );
            }
            if let Err(error) = self.install() {
                self.failure = Some(format!("{error:#}"));
            }
        }
        if let Err(error) = self.resync_routes() {
            tracing::error!("routes: {error:#}");
        }
    }

    /// Interprets a part of the program for as long as it may, and says what it decides otherwise than the
    /// tables. The next call goes on where this one ended, so that all is covered in time.
    fn interpret(&mut self, found: &Ruleset) -> Vec<String> {
        if self.failure.is_some() {
            return Vec::new();
        }
        let start = Instant::now();
        let state = self.engine.snapshot();
        let links = self.judged_links();
        let subject = ocicat_verify::Subject {
            ruleset: found,
            state: &state,
            config: self.compiler.config(),
            links: &links,
            numbering: ocicat_verify::Numbering::Same,
        };
        let mut verification = ocicat_verify::Verification::new(subject, self.judged());
        let steps = verification.steps();
        for _ in 0..steps {
            self.next_step = self.next_step.wrapping_add(1) % steps;
            verification.step(self.next_step);
            if start.elapsed() >= INTERPRET_FOR {
                break;
            }
        }
        verification.report().differences
    }

    /// What the kernel has and what it shall decide.
    pub(super) fn snapshot(&mut self) -> anyhow::Result<Box<Snapshot>> {
        anyhow::ensure!(self.in_force, "no policy is in force yet");
        if let Some(failure) = &self.failure {
            anyhow::bail!("the kernel keeps its last program: {failure}");
        }
        let ruleset = self.dump()?.context("the table is gone")?;
        Ok(Box::new(Snapshot {
            ruleset,
            state: self.engine.snapshot(),
            config: self.compiler.config().clone(),
            attached: self.judged(),
            links: self.judged_links(),
            numbering: ocicat_verify::Numbering::Same,
        }))
    }

    /// Endpoints that are attached and have policy.
    fn judged(&self) -> Vec<ocicat_verify::Attached> {
        let judged = self
            .compiler
            .endpoints()
            .filter(|(.., policy)| policy.is_some());
        judged
            .map(|(endpoint, attachment, _)| ocicat_verify::Attached {
                endpoint: endpoint.clone(),
                attachment: attachment.clone(),
            })
            .collect()
    }

    /// Interfaces that have a host endpoint in force by name or by address.
    fn judged_links(&self) -> BTreeMap<String, EndpointId> {
        let (links, _) = self.compiler.host_links();
        links
            .map(|(link, endpoint)| (link.to_owned(), endpoint.clone()))
            .collect()
    }

    fn commit(&mut self, transaction: &Transaction) -> Result<(), ocicat_nft::CommitError> {
        self.nft.commit(transaction)?;
        // The kernel counts commits of everybody in this network namespace.
        self.generation = self.generation.map(|known| known.wrapping_add(1));
        Ok(())
    }

    /// Whether somebody else has committed anything to nftables since the last look. If so, and our
    /// table is not as we left it, it is put right at once.
    pub(super) fn look_for_strangers(&mut self) {
        let now = match self.nft.generation() {
            Ok(now) => now,
            Err(error) => return tracing::warn!(%error, "cannot read the ruleset's generation"),
        };
        if self.generation.replace(now) == Some(now) || !self.in_force {
            return;
        }
        let [prefixes, ..] = self.compiler.size();
        if prefixes <= AUDITED_AT_ONCE || !self.base_chains_stand() {
            self.audit();
        }
    }

    fn base_chains_stand(&mut self) -> bool {
        let table = TableId::inet(TABLE);
        let ours = self.nft.chains().map(|chains| {
            chains
                .iter()
                .filter(|(of, chain)| *of == table && chain.base.is_some())
                .count()
        });
        ours.is_ok_and(|count| count == self.compiler.base_chains())
    }

    pub(super) fn dump(&mut self) -> anyhow::Result<Option<Ruleset>> {
        self.nft
            .dump_table(&TableId::inet(TABLE))
            .context("reading the table back")
    }
}
