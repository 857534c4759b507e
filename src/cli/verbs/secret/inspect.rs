//! `usnea secret inspect`: documents of secrets.

use std::fmt::Write;
use std::path::Path;

use crate::cli::output::failures::Failures;
use crate::cli::output::format::{Format, Headings, Layout, render};
use crate::cli::output::print;
use crate::cli::output::table::escape;
use crate::cli::verbs::image::inspect::in_docker_style;
use crate::container::secrets;
use crate::documents::secret::SecretDocument;
use crate::error::{Error, Result};

/// Show detailed information on secrets
#[derive(clap::Args)]
pub struct Arguments {
    /// Secret names or IDs.
    #[arg(value_name = "SECRET", required = true)]
    names: Vec<String>,

    /// json, or a Go template, such as '{{.Spec.Name}}'.
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "pretty")]
    format: Option<Format>,

    /// Print the information as lines for people.
    #[arg(long)]
    pretty: bool,

    /// Show the contents too.
    #[arg(long)]
    showsecret: bool,
}

const LAYOUT: Layout = Layout { table: "{{.ID}}", headings: &[] };

/// Prints the found documents, then fails for the missing names, as podman does.
pub fn run(arguments: &Arguments, store: &Path) -> Result<u8> {
    let mut found = Vec::new();
    let mut failures = Failures::default();
    for name in &arguments.names {
        match secrets::find(store, name) {
            Ok((secret, content)) => {
                found.push(secret.inspect(arguments.showsecret.then_some(&content)));
            }
            Err(error) => failures.add(error),
        }
    }
    if arguments.pretty {
        print(&found.iter().map(lines).collect::<String>())?;
        return failures.end();
    }
    let values = found.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>();
    let values = values.map_err(Error::new)?;
    match &arguments.format {
        None | Some(Format::Json) => print(&format!("{}\n", in_docker_style(&values)?))?,
        Some(format) => print(&render(format, &LAYOUT, Headings::Shown, &values)?)?,
    };
    failures.end()
}

fn lines(secret: &SecretDocument) -> String {
    let mut text = String::new();
    let labels = secret.spec.labels.iter().map(|(key, value)| format!(" - {key}={value}\n"));
    let labels = labels.map(|line| escape(line.trim_end()).into_owned() + "\n");
    let _ = write!(
        text,
        "ID:              {}\nName:            {}\nLabels:\n{}Driver:          {}\nCreated at:      {}\nUpdated at:      {}\n",
        secret.id,
        escape(&secret.spec.name),
        labels.collect::<String>(),
        secret.spec.driver.name,
        secret.created_at,
        secret.updated_at,
    );
    if let Some(data) = &secret.secret_data {
        let _ = writeln!(text, "Secret:          {data}");
    }
    text
}
