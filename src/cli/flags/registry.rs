//! Flags of all verbs that connect to a registry.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;

use crate::cli::output::prompt::{self, Echo};
use crate::duration;
use crate::error::Result;
use crate::image::endpoint::{RegistryCredentials, RetrySettings};
use crate::image::registries_conf::RegistryOptions;

/// Trust in a registry, and credentials for it.
#[derive(Default, clap::Args)]
pub struct RegistryFlags {
    /// Require HTTPS and verify certificates; false: accept any certificate, or plain HTTP. Default: true, unless
    /// registries.conf marks the registry as insecure.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_missing_value = "true",
          hide_possible_values = true, value_parser = BoolishValueParser::new())]
    tls_verify: Option<bool>,

    /// Credentials for the registry, instead of a login. Prompts for a missing password. Other users of the machine can
    /// see a password that is given here.
    #[arg(long, value_name = "NAME[:PASSWORD]")]
    creds: Option<String>,

    /// Auth file with logins. Default: $REGISTRY_AUTH_FILE.
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,

    /// Directory of certificates for the registry: *.crt are authorities, *.cert and *.key are client certificates.
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,

    /// Retries of a request that failed for a passing reason, such as a broken connection. Default: 4.
    #[arg(long, value_name = "N")]
    retry: Option<u32>,

    /// Pause before each retry, such as 2s. Default: 500ms before the first one, and twice as long before each next one.
    #[arg(long, value_name = "TIME", value_parser = parse_delay)]
    retry_delay: Option<Duration>,
}

impl RegistryFlags {
    /// True if any of these flags is set.
    pub fn is_set(&self) -> bool {
        self.tls_verify.is_some()
            || self.creds.is_some()
            || self.authfile.is_some()
            || self.cert_dir.is_some()
            || self.retry.is_some()
            || self.retry_delay.is_some()
    }

    /// Returns the settings of the flags. Asks for a missing password.
    pub fn options(self) -> Result<RegistryOptions> {
        Ok(RegistryOptions {
            tls_verify: self.tls_verify,
            cert_dir: self.cert_dir,
            credentials: self.creds.map(parse_credentials).transpose()?,
            authfile: self.authfile,
            retries: RetrySettings { count: self.retry, delay: self.retry_delay },
        })
    }
}

fn parse_delay(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| "expected a time, such as 2s".to_owned())
}

fn parse_credentials(text: String) -> Result<RegistryCredentials> {
    let (username, password) = match text.split_once(':') {
        Some((username, password)) => (username.to_owned(), password.to_owned()),
        None => {
            let password = prompt::ask("Password", Echo::Off)?;
            (text, password)
        }
    };
    Ok(RegistryCredentials::Password { username, password })
}
