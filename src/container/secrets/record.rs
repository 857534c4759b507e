//! Secrets of the store: creation, lookup and removal.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::amount;
use crate::config;
use crate::container::Usnea;
use crate::documents::secret::{SecretDocument, SecretDriver, SecretRow, SecretSpec};
use crate::engine::SecretContent;
use crate::error::{Context, Error, Result};
use crate::files::{self, Lock};
use crate::hint;
use crate::monitor::events;
use crate::object_id::random_id;
use crate::spec::SecretName;

/// Largest content, in bytes (podman's).
pub const LARGEST: usize = 512_000;

/// Digits of an ID (podman's).
const ID_LENGTH: usize = 25;

/// Name of the only driver, whose contents are files of the store.
const DRIVER: &str = "file";

/// Record of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StoredSecret {
    /// ID of the secret: 25 hexadecimal digits. A new content has a new ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Name of the secret.
    pub name: SecretName,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
    /// Labels of the secret.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl StoredSecret {
    /// Returns the document of the secret; `content`: its content, to be shown.
    pub fn inspect(&self, content: Option<&SecretContent>) -> SecretDocument {
        SecretDocument {
            id: self.id.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            spec: SecretSpec {
                name: self.name.to_string(),
                driver: SecretDriver { name: DRIVER, options: BTreeMap::new() },
                labels: self.labels.clone(),
            },
            secret_data: content.map(|content| String::from_utf8_lossy(&content.0).into_owned()),
        }
    }

    /// Returns the row of a table.
    pub fn row(&self) -> SecretRow {
        let labels = self.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let now = Timestamp::now();
        SecretRow {
            id: self.id.clone(),
            name: self.name.to_string(),
            driver: DRIVER,
            created_at: amount::ago(self.created_at, now),
            updated_at: amount::ago(self.updated_at, now),
            labels: labels.collect::<Vec<_>>().join(","),
            label_map: self.labels.clone(),
        }
    }
}

/// Secret to create.
#[derive(Debug)]
pub struct NewSecret {
    /// Name of the secret.
    pub name: SecretName,
    /// Content of the secret.
    pub content: SecretContent,
    /// Labels of the secret.
    pub labels: BTreeMap<String, String>,
    /// Way with a secret that has the name already.
    pub conflict: NameConflict,
}

/// Way with a secret that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameConflict {
    /// Error.
    Refuse,
    /// The new secret takes its place.
    Replace,
}

fn folder(store: &Path) -> PathBuf {
    store.join("secrets")
}

fn lock(store: &Path) -> Result<File> {
    files::lock_file(&store.join("secrets.lock"), Lock::Exclusive)
}

/// Creates a secret; returns its ID. Errors: no content, or too much; a name that is taken.
pub fn create(usnea: &Usnea, new: &NewSecret) -> Result<String> {
    let length = new.content.0.len();
    if !(1..=LARGEST).contains(&length) {
        return Err(Error::invalid(format!(
            "secret {}: the content has {length} bytes, and must have 1 to {LARGEST}",
            new.name
        )));
    }
    let store = usnea.make_store()?;
    let place = config::open_private(&folder(store))?.join(new.name.as_str());
    let _lock = lock(store)?;
    files::sweep(&store.join("tmp"), &[files::FILE_PREFIX]);
    if new.conflict == NameConflict::Refuse && place.exists() {
        return Err(Error::conflict(format!("a secret is called '{}' already", new.name))
            .hint(hint::REPLACE_SECRET));
    }
    let mut id = random_id()?;
    id.truncate(ID_LENGTH);
    let now = Timestamp::now();
    let secret = StoredSecret {
        id: id.clone(),
        name: new.name.clone(),
        created_at: now,
        updated_at: now,
        labels: new.labels.clone(),
    };
    let mut whole = serde_json::to_vec(&secret).map_err(Error::new)?;
    whole.push(b'\n');
    whole.extend(&new.content.0);
    files::replace(&store.join("tmp"), &place, &whole)?;
    tell(store, &secret, "create");
    Ok(id)
}

/// Removes a secret. Containers that have it keep it.
pub fn remove(store: &Path, secret: &StoredSecret) -> Result<()> {
    let _lock = lock(store)?;
    files::sweep(&store.join("tmp"), &[files::FILE_PREFIX]);
    let place = folder(store).join(secret.name.as_str());
    std::fs::remove_file(&place).context(|| format!("cannot remove {}", place.display()))?;
    files::sync_folder(&folder(store))?;
    tell(store, secret, "remove");
    Ok(())
}

fn tell(store: &Path, secret: &StoredSecret, action: &str) {
    events::of_other(store, "secret", &secret.id, action, &[("name", secret.name.to_string())]);
}

/// Returns all secrets, by name. Leaves out a damaged one, with a warning.
pub fn all(store: &Path) -> Result<Vec<StoredSecret>> {
    let folder = folder(store);
    let phrase = || format!("cannot list {}", folder.display());
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        answer => answer.context(phrase)?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.context(phrase)?.path();
        match open(&path) {
            Ok(found) => all.extend(found.map(|(secret, _)| secret)),
            Err(error) => log::warn!("{error}"),
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// Returns the secret that `text` names, by its name, its ID or the beginning of its ID, and its content. Errors: no such
/// secret; an ambiguous ID.
pub fn find(store: &Path, text: &str) -> Result<(StoredSecret, SecretContent)> {
    let at = |name: &SecretName| read(&folder(store).join(name.as_str()));
    if let Ok(name) = text.parse::<SecretName>()
        && let Some(found) = at(&name)?
    {
        return Ok(found);
    }
    let shown = text.escape_debug();
    let all = all(store)?;
    let mut fitting = all.iter().filter(|secret| !text.is_empty() && secret.id.starts_with(text));
    let found = match (fitting.next(), fitting.next()) {
        (Some(secret), None) => at(&secret.name)?,
        (Some(_), Some(_)) => {
            let text = format!("the IDs of several secrets begin with '{shown}'");
            return Err(Error::conflict(text));
        }
        (None, _) => None,
    };
    let none = || Error::not_found(format!("there is no secret '{shown}'"));
    found.ok_or_else(none).hint(|| hint::LIST_SECRETS)
}

/// Opens a secret behind its record. `None`: there is no such file.
fn open(path: &Path) -> Result<Option<(StoredSecret, BufReader<File>)>> {
    let phrase = || format!("secret {}", path.display());
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        answer => BufReader::new(answer.context(phrase)?),
    };
    let mut line = Vec::new();
    file.read_until(b'\n', &mut line).context(phrase)?;
    let secret = serde_json::from_slice(&line).map_err(Error::new).context(phrase)?;
    Ok(Some((secret, file)))
}

fn read(path: &Path) -> Result<Option<(StoredSecret, SecretContent)>> {
    let Some((secret, mut file)) = open(path)? else { return Ok(None) };
    let mut content = Vec::new();
    file.read_to_end(&mut content).context(|| format!("secret {}", path.display()))?;
    Ok(Some((secret, SecretContent(content))))
}
