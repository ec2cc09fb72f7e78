//! A scenario file with other expectations in their places.

use std::collections::BTreeMap;

use ocicat_oracle::{Census, Verdict};

use super::query::expectation;
use super::{Act, Answer, Ask, Reply, Scenario, Span};

impl Scenario {
    /// The text of a file with what `judge` says in the place of what is expected; everything else
    /// stays as it is.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, with its line: it is no scenario, something has no answer, or
    /// one expectation would have to say two things.
    pub fn rewritten(
        text: &str,
        mut judge: impl FnMut(&Act, &Census<'_>, &Ask) -> Result<Reply, String>,
    ) -> Result<String, String> {
        let scenario = Self::parse(text).map_err(|error| error.to_string())?;
        let acts = scenario.acts().map_err(|error| error.to_string())?;
        let mut edits: BTreeMap<Span, String> = BTreeMap::new();
        for act in &acts {
            let census = Census::new(&act.world);
            for ask in &act.asks {
                let line = ask.span.line;
                let reply =
                    judge(act, &census, ask).map_err(|error| format!("line {line}: {error}"))?;
                let new = replacement(text, ask, &reply);
                let old = edits.insert(ask.span.clone(), new.clone());
                if old.is_some_and(|old| old != new) {
                    return Err(format!(
                        "line {line}: the answers differ by family or port; ask for each by itself"
                    ));
                }
            }
        }
        let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        // From the last to the first, so that places stay true.
        for (span, new) in edits.iter().rev() {
            lines[span.line - 1].replace_range(span.start..span.end, new);
        }
        let mut written = lines.join("\n");
        if text.ends_with('\n') {
            written.push('\n');
        }
        Ok(written)
    }
}

fn replacement(text: &str, ask: &Ask, reply: &Reply) -> String {
    let line = text.lines().nth(ask.span.line - 1).unwrap_or_default();
    match line.get(ask.span.start..ask.span.end) {
        Some("+" | "-") => match reply.answer {
            Answer::Verdict(Verdict::Allow) => "+".to_owned(),
            _ => "-".to_owned(),
        },
        _ => {
            let decider = match &ask.decider {
                none if none.is_empty() => "",
                same if reply.deciders.contains(same) => same,
                _ => reply.deciders.last().map_or("", String::as_str),
            };
            let pending = ask.pending.and(reply.pending);
            expectation(reply.answer, pending, decider)
        }
    }
}
