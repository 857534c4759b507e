//! The entries of an auth file: names of registries, and the credentials in an entry.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::image::endpoint::RegistryCredentials;
use crate::image::reference::DOCKER_HUB;

/// Docker's name for docker.io in its files and for its helpers.
pub const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Fields of an entry that hold credentials.
const FIELDS: [&str; 5] = ["auth", "identitytoken", "registrytoken", "username", "password"];

/// Format of the names in an auth file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFileFormat {
    /// `{"auths": {...}}`: auth.json, docker's config.json.
    Auths,
    /// `{...}`: `.dockercfg`, where all names are addresses or registries.
    Old,
}

/// Credentials of an entry or of a helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Secret to send to the registry.
    pub credentials: RegistryCredentials,
    /// User name, if known.
    pub username: Option<String>,
}

impl Login {
    /// Makes a login of a user name and a secret, from a helper or an entry. `None`: the secret is empty.
    pub fn of_pair(username: &str, secret: &str) -> Option<Self> {
        let name = || username.to_owned();
        let (credentials, username) = match username {
            _ if secret.is_empty() => return None,
            "<token>" => (RegistryCredentials::IdentityToken(secret.to_owned()), None),
            _ => {
                let password = secret.to_owned();
                (RegistryCredentials::Password { username: name(), password }, Some(name()))
            }
        };
        Some(Self { credentials, username })
    }
}

/// Names for an auth file, from the most to the least specific: `quay.io/ns/image`, `quay.io/ns`, `quay.io`.
pub fn keys(host: &str, path: &str) -> Vec<String> {
    let mut key = format!("{host}/{path}").trim_end_matches('/').to_owned();
    let mut keys = Vec::new();
    while key.len() > host.len() {
        let end = key.rfind('/').unwrap_or(host.len());
        keys.push(key.clone());
        key.truncate(end);
    }
    keys.push(host.to_owned());
    keys
}

/// The registry that a name of an auth file stands for: docker has stored addresses (`https://HOST/v1/`) for years.
pub fn registry_of(key: &str, form: AuthFileFormat) -> &str {
    let stripped = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let host = match (stripped, form) {
        (None, AuthFileFormat::Auths) => key,
        _ => stripped.unwrap_or(key).split('/').next().unwrap_or_default(),
    };
    match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        other => other,
    }
}

/// Names of the registry in helpers, `credHelpers` and docker's logins; podman's name first.
pub fn names(host: &str) -> Vec<&str> {
    if host == DOCKER_HUB {
        vec![DOCKER_HUB, DOCKER_HUB_KEY, "index.docker.io"]
    } else {
        vec![host]
    }
}

/// Reads the login of an entry. `None`: no credentials, as in docker's marks for a helper's secret. Errors, without any
/// of the content: malformed.
pub fn read(entry: &Value) -> Result<Option<Login>> {
    let Value::Object(fields) = entry else {
        return Err(Error::new("it is not an object"));
    };
    let field = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(Error::new(format!("'{name}' is not a text"))),
    };
    let pair = field("auth")?.map(decode).transpose()?.flatten();
    let username = pair.as_ref().map(|(username, _)| username.clone());
    let username =
        username.or(field("username")?.map(str::to_owned)).filter(|name| !name.is_empty());
    let token = match (field("identitytoken")?, field("registrytoken")?) {
        (Some(token), _) => Some(RegistryCredentials::IdentityToken(token.to_owned())),
        (_, Some(token)) => Some(RegistryCredentials::RegistryToken(token.to_owned())),
        _ => None,
    };
    if let Some(credentials) = token {
        return Ok(Some(Login { credentials, username }));
    }
    match (pair, field("username")?, field("password")?) {
        (Some((username, password)), ..) => Ok(Login::of_pair(&username, &password)),
        (None, Some(username), Some(password)) => Ok(Login::of_pair(username, password)),
        _ => Ok(None),
    }
}

/// Decodes user name and password; a password may contain colons, a name may not.
fn decode(auth: &str) -> Result<Option<(String, String)>> {
    // The padding is often missing in entries written by hand.
    let padding =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&STANDARD, padding);
    let bytes = engine.decode(auth.trim()).map_err(|_| Error::new("'auth' is not base64"))?;
    let text = String::from_utf8(bytes).map_err(|_| Error::new("'auth' is not UTF-8"))?;
    // Docker pads the password with zero bytes.
    let pair = text.split_once(':');
    Ok(pair.map(|(name, password)| (name.to_owned(), password.trim_matches('\0').to_owned())))
}

/// Sets name and password in an entry; other fields stay.
pub fn write(entry: &mut Map<String, Value>, username: &str, password: &str) {
    FIELDS.iter().for_each(|field| drop(entry.remove(*field)));
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
    entry.insert("auth".to_owned(), Value::String(auth));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn password(username: &str, password: &str) -> Option<Login> {
        Login::of_pair(username, password)
    }

    #[test]
    fn entries_say_who_we_are() {
        let auth = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let reads = |entry: Value| read(&entry).unwrap();
        assert_eq!(reads(json!({"auth": auth("me:a:b c")})), password("me", "a:b c"));
        assert_eq!(reads(json!({"auth": auth("me:x\0\0"), "email": "m@x"})), password("me", "x"));
        assert_eq!(reads(json!({"auth": "bWU6eA"})), password("me", "x"));
        assert_eq!(reads(json!({"auth": "bWU6eA==\n"})), password("me", "x"));
        assert_eq!(reads(json!({"username": "me", "password": "p"})), password("me", "p"));
        for nothing in [
            json!({}),
            json!({"auth": ""}),
            json!({"auth": auth("me:")}),
            json!({"auth": auth("me")}),
            json!({"username": "me"}),
        ] {
            assert_eq!(reads(nothing), None);
        }
        let token = reads(json!({"auth": auth("me:"), "identitytoken": "t"})).unwrap();
        assert_eq!(token.credentials, RegistryCredentials::IdentityToken("t".into()));
        assert_eq!(token.username.as_deref(), Some("me"));
        let token = reads(json!({"registrytoken": "t"})).unwrap();
        assert_eq!(token.credentials, RegistryCredentials::RegistryToken("t".into()));
        assert_eq!(
            Login::of_pair("<token>", "t").unwrap().credentials,
            RegistryCredentials::IdentityToken("t".into())
        );
    }

    #[test]
    fn an_invalid_entry_is_refused_without_showing_it() {
        for entry in [
            json!("hidden"),
            json!({"auth": "hidden!"}),
            json!({"auth": ["hidden"]}),
            json!({"auth": "/w=="}),
        ] {
            let error = read(&entry).unwrap_err().to_string();
            assert!(!error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn names_lead_from_the_image_to_the_registry() {
        assert_eq!(
            keys("my-registry.local", "namespace/user/image"),
            [
                "my-registry.local/namespace/user/image",
                "my-registry.local/namespace/user",
                "my-registry.local/namespace",
                "my-registry.local"
            ]
        );
        assert_eq!(keys("h:5000", ""), ["h:5000"]);
        for (key, form, registry) in [
            ("https://index.docker.io/v1/", AuthFileFormat::Auths, "docker.io"),
            ("index.docker.io", AuthFileFormat::Auths, "docker.io"),
            ("http://h:5000/v2/", AuthFileFormat::Auths, "h:5000"),
            ("quay.io/ns", AuthFileFormat::Auths, "quay.io/ns"),
            ("quay.io/v1/", AuthFileFormat::Old, "quay.io"),
        ] {
            assert_eq!(registry_of(key, form), registry);
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let Value::Object(mut entry) = json!({"email": "m@x", "identitytoken": "old"}) else {
            panic!()
        };
        write(&mut entry, "me", "a:b");
        assert_eq!(entry["email"], "m@x");
        assert_eq!(read(&Value::Object(entry)).unwrap(), password("me", "a:b"));
    }

    proptest! {
        #[test]
        fn no_entry_breaks_us(auth in "[a-zA-Z0-9+/=]{0,12}|.{0,12}", host in ".{0,6}", path in "[a-z/é]{0,9}") {
            let _ = read(&json!({"auth": auth}));
            prop_assert!(!keys(&host, &path).is_empty());
            registry_of(&host, AuthFileFormat::Old);
        }

        #[test]
        fn every_password_comes_back(username in "[^:\\x00]{1,9}", secret in "[^\\x00]{1,20}") {
            let mut entry = Map::new();
            write(&mut entry, &username, &secret);
            prop_assert_eq!(read(&Value::Object(entry)).unwrap(), password(&username, &secret));
        }
    }
}
