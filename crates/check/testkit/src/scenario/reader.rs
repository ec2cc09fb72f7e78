//! Text to scenario.

use ocicat_api::decode::decode;
use ocicat_api::{Kind, Object, ObjectKey, document};

use super::{Scenario, ScenarioError, Step, cast, matrix, query};
use crate::Change;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Section {
    Title,
    Namespaces,
    Pods,
    Hosts,
    Resources,
    Delete,
    Queries,
    /// With the protocol and the ports.
    Reach(String),
}

pub fn read(text: &str) -> Result<Scenario, ScenarioError> {
    let mut scenario = Scenario {
        title: String::new(),
        steps: Vec::new(),
    };
    let mut section = Section::Title;
    // The lines of the section so far, and the number of its first.
    let (mut body, mut first) = (String::new(), 1);
    for (index, line) in text.lines().enumerate() {
        let header = line
            .strip_prefix("-- ")
            .and_then(|line| line.trim_end().strip_suffix(" --"));
        match header {
            Some(name) => {
                finish(&mut scenario, &section, &body, first)?;
                body.clear();
                first = index + 2;
                section = section_of(name, index + 1)?;
            }
            None => {
                body.push_str(line);
                body.push('\n');
            }
        }
    }
    finish(&mut scenario, &section, &body, first)?;
    Ok(scenario)
}

fn section_of(name: &str, line: usize) -> Result<Section, ScenarioError> {
    let (word, rest) = name.split_once(' ').unwrap_or((name, ""));
    match (word, rest) {
        ("namespaces", "") => Ok(Section::Namespaces),
        ("pods", "") => Ok(Section::Pods),
        ("hosts", "") => Ok(Section::Hosts),
        ("resources", "") => Ok(Section::Resources),
        ("delete", "") => Ok(Section::Delete),
        ("queries", "") => Ok(Section::Queries),
        ("reach", service) => Ok(Section::Reach(service.to_owned())),
        _ => {
            let message = format!(
                "{name:?}: expected section namespaces, pods, hosts, resources, delete, queries or \
                 reach PROTOCOL PORT..."
            );
            Err(ScenarioError { line, message })
        }
    }
}

fn finish(
    scenario: &mut Scenario,
    section: &Section,
    body: &str,
    first: usize,
) -> Result<(), ScenarioError> {
    match section {
        Section::Title => body.trim().clone_into(&mut scenario.title),
        Section::Namespaces => each(scenario, body, first, |text| {
            Ok(Step::Change(Change::Put(cast::namespace(text)?)))
        })?,
        Section::Pods => each(scenario, body, first, |text| {
            Ok(Step::Change(Change::Put(cast::pod(text)?)))
        })?,
        Section::Hosts => each(scenario, body, first, |text| {
            Ok(Step::Link(cast::link(text)?))
        })?,
        Section::Resources => {
            let objects = objects(body, first)?;
            scenario
                .steps
                .extend(objects.into_iter().map(Change::Put).map(Step::Change));
        }
        Section::Delete => each(scenario, body, first, |text| {
            Ok(Step::Change(Change::Delete(key(text.trim())?)))
        })?,
        Section::Queries => {
            // Comments belong to queries.
            for (line, text) in lines(body, first) {
                let query = query::parse(line, text);
                let query = query.map_err(|message| ScenarioError { line, message })?;
                scenario.steps.push(Step::Query(query));
            }
        }
        Section::Reach(service) => {
            let queries = matrix::read(service, first - 1, lines(body, first))?;
            scenario.steps.extend(queries.into_iter().map(Step::Query));
        }
    }
    Ok(())
}

/// A step for each line, without its comment.
fn each(
    scenario: &mut Scenario,
    body: &str,
    first: usize,
    read: impl Fn(&str) -> Result<Step, String>,
) -> Result<(), ScenarioError> {
    for (line, text) in lines(body, first) {
        let text = text.split('#').next().unwrap_or(text);
        let step = read(text).map_err(|message| ScenarioError { line, message })?;
        scenario.steps.push(step);
    }
    Ok(())
}

/// Lines with their numbers, but blank ones and comments.
fn lines(body: &str, first: usize) -> impl Iterator<Item = (usize, &str)> {
    body.lines()
        .enumerate()
        .map(move |(index, line)| (first + index, line))
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
}

/// Reads `Kind/namespace/name` or `Kind/name`.
fn key(text: &str) -> Result<ObjectKey, String> {
    let words: Vec<&str> = text.split('/').collect();
    let (kind, namespace, name) = match words[..] {
        [kind, name] => (kind, None, name),
        [kind, namespace, name] => (kind, Some(namespace), name),
        _ => {
            return Err(format!(
                "{text:?}: expected Kind/name or Kind/namespace/name"
            ));
        }
    };
    let kind = Kind::parse(kind).ok_or_else(|| format!("{kind:?}: no such kind"))?;
    if kind.is_namespaced() != namespace.is_some() {
        let shape = if kind.is_namespaced() {
            "Kind/namespace/name"
        } else {
            "Kind/name"
        };
        return Err(format!("{text:?}: expected {shape}"));
    }
    Ok(ObjectKey {
        kind,
        namespace: namespace.map(Into::into),
        name: name.into(),
    })
}

fn objects(body: &str, first: usize) -> Result<Vec<Object>, ScenarioError> {
    let documents = document::parse(body).map_err(|error| ScenarioError {
        line: first + error.position.line - 1,
        message: error.message,
    })?;
    let each = documents.iter().map(|document| {
        let decoded = decode(&document.value);
        decoded.object.ok_or_else(|| {
            let problems = decoded.problems.iter().map(ToString::to_string);
            let unused = decoded.unused.map(|kind| format!("{kind} is not used"));
            let messages: Vec<String> = problems.chain(unused).collect();
            let line = first + document.start().line - 1;
            ScenarioError {
                line,
                message: messages.join("; "),
            }
        })
    });
    each.collect()
}
