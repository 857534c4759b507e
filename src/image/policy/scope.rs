//! Origin of an image, and the policy scopes that the origin matches, the narrowest first.

use std::fmt;
use std::path::Path;

use crate::error::{Context, Error, Result};
use crate::fail;
use crate::image::reference::{LOCALHOST, Reference};

/// Origin of an image, as policies see it: the name that the user gave, not the mirror that serves it.
#[derive(Clone, Debug)]
pub struct ImageOrigin {
    transport: String,
    scopes: Vec<String>,
    reference: Option<Reference>,
    name: String,
}

impl ImageOrigin {
    /// Makes the origin for a registry (transport `docker`).
    pub fn registry(reference: &Reference) -> Self {
        Self {
            transport: "docker".to_owned(),
            scopes: registry_scopes(reference),
            reference: Some(reference.clone()),
            name: reference.to_string(),
        }
    }

    /// Makes the origin for a file or folder. `transport` is `oci`, `oci-archive`, `dir`, `docker-archive`, `sif`, `sqsh`;
    /// `which`: the image in it. Errors: `path` does not exist.
    pub fn local(transport: &str, path: &Path, which: Option<&str>) -> Result<Self> {
        let name = format!("{transport}:{}", path.display());
        // A symbolic link must not lead around a scope.
        let path = path.canonicalize().context(|| name.clone())?;
        let scopes = match has_paths(transport) {
            true => path_scopes(&path, which),
            false => Vec::new(),
        };
        Ok(Self { transport: transport.to_owned(), scopes, reference: None, name })
    }

    pub(super) fn transport(&self) -> &str {
        &self.transport
    }

    pub(super) fn scopes(&self) -> &[String] {
        &self.scopes
    }

    pub(super) fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }
}

impl fmt::Display for ImageOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Name with digest or tag, name, its namespaces, host; then `*.` and each domain above the host, without the port.
fn registry_scopes(reference: &Reference) -> Vec<String> {
    let name = reference.name();
    let whole = match &reference.digest {
        Some(digest) => format!("{name}@{digest}"),
        None => format!("{name}:{}", reference.which()),
    };
    let names = std::iter::successors(Some(&*name), |name| Some(name.rsplit_once('/')?.0));
    let names = names.map(str::to_owned);
    let host = match reference.registry.rsplit_once(':') {
        Some((host, _)) => host,
        None => &reference.registry,
    };
    let domains = std::iter::successors(Some(host), |host| Some(host.split_once('.')?.1)).skip(1);
    let domains = domains.map(|domain| format!("*.{domain}"));
    [whole].into_iter().chain(names).chain(domains).collect()
}

/// `PATH:WHICH`, the path, and the folders above it except `/`.
fn path_scopes(path: &Path, which: Option<&str>) -> Vec<String> {
    let whole = which.and_then(|which| Some(format!("{}:{which}", path.to_str()?)));
    let folders = path.ancestors().filter_map(Path::to_str).filter(|path| *path != "/");
    whole.into_iter().chain(folders.map(str::to_owned)).collect()
}

fn has_paths(transport: &str) -> bool {
    matches!(transport, "dir" | "oci" | "oci-archive" | "sif" | "sqsh")
}

/// Errors: a scope that can never apply. Transports that usnea lacks may have any scope.
pub fn check(transport: &str, scope: &str) -> Result<()> {
    match transport {
        _ if scope.is_empty() => Ok(()),
        "docker" => check_registry(scope),
        "docker-archive" | "tarball" => fail!("only the scope \"\" is known"),
        _ if has_paths(transport) => {
            let clean = scope.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
            match scope.starts_with('/') && clean {
                true => Ok(()),
                false => Err(Error::new("not an absolute path without '.', '..' and '//'")
                    .hint("for everything, the scope is \"\"")),
            }
        }
        _ => Ok(()),
    }
}

fn check_registry(scope: &str) -> Result<()> {
    let domain = scope.strip_prefix("*.").unwrap_or(scope);
    let is_wild = domain.len() < scope.len();
    if domain.contains('*') || (is_wild && (domain.is_empty() || domain.contains(['/', ':', '@'])))
    {
        fail!("'*' stands for the subdomains of a host alone: *.example.com");
    }
    let first = domain.split('/').next().unwrap_or_default();
    let is_host = first == LOCALHOST
        || first.contains(['.', ':'])
        || first.chars().any(|c| c.is_ascii_uppercase());
    if !is_host && !is_wild {
        log::warn!(
            "the signature policy's scope '{scope}' fits no image: names are complete there, such as docker.io/library/debian"
        );
    }
    Ok(())
}
