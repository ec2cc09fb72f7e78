//! Objects as tables, YAML, JSON or names.

use ocicat_client::Resource;
use serde_json::{Value, json};

use super::column::{Column, columns};
use crate::args::Output;
use crate::out;
use crate::table::Table;

/// How to print.
pub struct Printer {
    pub output: Option<Output>,
    /// A first column with the namespace, where a kind has them.
    pub with_namespace: bool,
}

/// What became of an object that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Present,
    Deleted,
}

impl Printer {
    fn columns(&self, resource: &Resource) -> Vec<Column> {
        let wide = self.output == Some(Output::Wide);
        columns(resource)
            .into_iter()
            .filter(|column| wide || !column.wide)
            .collect()
    }

    fn with_namespace(&self, resource: &Resource) -> bool {
        self.with_namespace && resource.namespaced
    }

    fn table(&self, resource: &Resource, columns: &[Column]) -> Table {
        let namespace = self.with_namespace(resource).then_some("NAMESPACE");
        let named = namespace.into_iter().chain(["NAME"]);
        Table::new(named.chain(columns.iter().map(|column| column.heading)))
    }

    fn row(&self, resource: &Resource, columns: &[Column], object: &Value) -> Vec<String> {
        let field = |name: &str| {
            object["metadata"][name]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let namespace = self.with_namespace(resource).then(|| field("namespace"));
        let named = namespace.into_iter().chain([field("name")]);
        named
            .chain(columns.iter().map(|column| column.cell(object)))
            .collect()
    }
}

/// Prints all that was found; `place` ends the sentence that says that nothing was.
pub fn all(printer: &Printer, found: &[(Resource, Vec<Value>)], shape: Shape, place: &str) {
    let objects = || found.iter().flat_map(|(_, objects)| objects);
    match printer.output {
        Some(Output::Json | Output::Yaml) => {
            let value = match (shape, objects().next()) {
                (Shape::Single, Some(object)) => object.clone(),
                _ => json!({"apiVersion": "v1", "kind": "List",
                    "items": objects().collect::<Vec<_>>()}),
            };
            out::print(&structured(printer.output, &value));
        }
        Some(Output::Name) => {
            for (resource, objects) in found {
                for object in objects {
                    out::print(&format!("{}\n", name(resource, object)));
                }
            }
        }
        Some(Output::Wide) | None => tables(printer, found, place),
    }
}

/// Whether one object was asked for, or a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Single,
    List,
}

fn tables(printer: &Printer, found: &[(Resource, Vec<Value>)], place: &str) {
    let mut first = true;
    for (resource, objects) in found.iter().filter(|(_, objects)| !objects.is_empty()) {
        if !first {
            out::print("\n");
        }
        first = false;
        let columns = printer.columns(resource);
        let mut table = printer.table(resource, &columns);
        for object in objects {
            table.push(printer.row(resource, &columns, object));
        }
        out::print(&table.print());
    }
    if first {
        eprintln!("No resources found{place}.");
    }
}

/// Prints the events of a watch, one by one.
pub struct Stream<'a> {
    printer: &'a Printer,
    resource: Resource,
    columns: Vec<Column>,
    /// Columns never get narrower than they were.
    widths: Vec<usize>,
    begun: bool,
}

impl<'a> Stream<'a> {
    pub fn new(printer: &'a Printer, resource: Resource) -> Self {
        let columns = printer.columns(&resource);
        Self {
            printer,
            resource,
            columns,
            widths: Vec::new(),
            begun: false,
        }
    }

    pub fn print(&mut self, object: &Value, change: Change) {
        match self.printer.output {
            Some(Output::Yaml) => {
                let mark = if self.begun { "---\n" } else { "" };
                out::print(&format!(
                    "{mark}{}",
                    structured(self.printer.output, object)
                ));
            }
            Some(Output::Json) => out::print(&structured(self.printer.output, object)),
            Some(Output::Name) => out::print(&format!("{}\n", name(&self.resource, object))),
            Some(Output::Wide) | None => self.row(object, change),
        }
        self.begun = true;
    }

    fn row(&mut self, object: &Value, change: Change) {
        let mut row = self.printer.row(&self.resource, &self.columns, object);
        if change == Change::Deleted {
            row.push("(deleted)".into());
        }
        let mut table = self.printer.table(&self.resource, &self.columns);
        table.push(row);
        let widths = table.widths();
        self.widths.resize(widths.len(), 0);
        for (old, new) in self.widths.iter_mut().zip(widths) {
            *old = (*old).max(new);
        }
        let text = table.print_in(&self.widths);
        let skip = usize::from(self.begun);
        for line in text.lines().skip(skip) {
            out::print(&format!("{line}\n"));
        }
    }
}

fn name(resource: &Resource, object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    format!("{}/{name}", resource.singular())
}

/// JSON or YAML that ends in a newline.
fn structured(output: Option<Output>, value: &Value) -> String {
    if output == Some(Output::Json) {
        return format!("{value:#}\n");
    }
    // A JSON value has nothing that YAML cannot say.
    let text = serde_saphyr::to_string(value).unwrap_or_else(|error| format!("# {error}"));
    format!("{}\n", text.trim_end())
}
