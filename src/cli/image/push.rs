//! `usnea push`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::builder::BoolishValueParser;

use crate::cli::prompt::{self, Answer};
use crate::cli::run::print;
use crate::container::images::{Push, push};
use crate::container::stores::Stores;
use crate::error::Result;
use crate::files;
use crate::image::endpoint::Credentials;
use crate::image::pull::Progress;
use crate::image::registries::Asked;
use crate::image::transport::Place;

/// Push an image to a registry, a layout or an archive
///
/// The manifest arrives byte for byte as it came here, so that its digest stays. Layers that were loaded without
/// compression are compressed for a registry; then the digest is another one.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name or ID of the image.
    #[arg(value_name = "SOURCE")]
    source: String,

    /// Where to: [docker://]REGISTRY/NAME[:TAG], oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME].
    /// Default: the registry of the image's own name.
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,

    /// Require HTTPS with a certificate that holds; false: any certificate, or plain HTTP. Default: true, unless
    /// registries.conf says that the registry is insecure.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_missing_value = "true",
          hide_possible_values = true, value_parser = BoolishValueParser::new())]
    tls_verify: Option<bool>,

    /// Who you are for the registry, in the place of a login. Without a password it is asked for; one that is given here
    /// can be seen by others in ps.
    #[arg(long, value_name = "NAME[:PASSWORD]")]
    creds: Option<String>,

    /// Look up logins in this file. Default: $REGISTRY_AUTH_FILE.
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,

    /// Certificates for the registry: *.crt authorities, *.cert with *.key who we are.
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,

    /// Print nothing but where it is now.
    #[arg(short, long)]
    quiet: bool,

    /// Write the digest of the manifest, as it is there, to this file.
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
}

/// Pushes.
pub fn run(arguments: Arguments, root: Option<&Path>) -> Result<u8> {
    let asked = Asked {
        tls_verify: arguments.tls_verify,
        cert_dir: arguments.cert_dir,
        credentials: arguments.creds.map(credentials).transpose()?,
        authfile: arguments.authfile,
    };
    // Here, not by clap: an error keeps its hint.
    let destination = arguments.destination.map(|text| text.parse::<Place>()).transpose()?;
    let request = Push { source: arguments.source, destination, asked };
    let lines = Lines::new(arguments.quiet);
    let (place, pushed) = push(&Stores::open(root)?, &request, &lines)?;
    if let Some(file) = &arguments.digestfile {
        std::fs::write(file, pushed.digest.to_string())
            .map_err(|error| files::cannot_write(error, file))?;
    }
    match arguments.quiet {
        true => print(&format!("{}\n", shown(&place))),
        false => {
            print(&format!("{}: digest: {} size: {}\n", shown(&place), pushed.digest, pushed.size))
        }
    }
}

/// A line on standard error for each layer that is there.
struct Lines {
    quiet: bool,
    layers: Mutex<Vec<String>>,
}

impl Lines {
    fn new(quiet: bool) -> Self {
        Self { quiet, layers: Mutex::default() }
    }

    fn layers(&self) -> MutexGuard<'_, Vec<String>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Lines {
    fn layers(&self, layers: &[(String, u64)]) {
        *Lines::layers(self) = layers.iter().map(|(digest, _)| digest.clone()).collect();
    }

    fn came(&self, _: usize, _: u64) {}

    fn done(&self, at: usize, was_there: bool) {
        let said = if was_there { "Layer already exists" } else { "Pushed" };
        if let Some(digest) = Lines::layers(self).get(at).filter(|_| !self.quiet) {
            // Standard error may be gone.
            let _ = writeln!(std::io::stderr(), "{digest}: {said}");
        }
    }
}

/// A registry's name without its transport, as it was typed.
fn shown(place: &Place) -> String {
    let text = place.to_string();
    text.strip_prefix("docker://").unwrap_or(&text).to_owned()
}

fn credentials(text: String) -> Result<Credentials> {
    let (username, password) = match text.split_once(':') {
        Some((username, password)) => (username.to_owned(), password.to_owned()),
        None => {
            let password = prompt::ask("Password", Answer::Hidden)?;
            (text, password)
        }
    };
    Ok(Credentials::Password { username, password })
}
