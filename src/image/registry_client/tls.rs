//! Certificates: trusted authorities of the host, with docker's `certs.d` added, and client certificates from there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::error::{Context, Error, Result};
use crate::image::endpoint::TransportSecurity;

/// Builds the TLS configuration for a registry with these folders of `certs.d`. Errors: an unusable file in the
/// folders.
pub fn config(transport: TransportSecurity, folders: &[PathBuf]) -> Result<TlsConfig> {
    let host = rustls_native_certs::load_native_certs();
    host.errors.iter().for_each(|error| log::debug!("the host's authorities: {error}"));
    let mut roots: Vec<Certificate<'static>> =
        host.certs.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
    let mut client = None;
    for path in folders.iter().flat_map(|folder| files(folder)) {
        match path.extension().and_then(|end| end.to_str()) {
            Some("crt") => {
                let all = certificates(&path)?;
                roots.extend(all.iter().map(|one| Certificate::from_der(one).to_owned()));
            }
            Some("cert") if client.is_none() => client = Some(pair(&path)?),
            _ => {}
        }
    }
    Ok(TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::from(roots))
        .client_cert(client)
        .disable_verification(transport == TransportSecurity::Insecure)
        .build())
}

// Files sorted by name. A missing folder counts as empty.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || format!("cannot read {}", path.display());
    let bytes = std::fs::read(path).context(read)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    all.map_err(|error| Error::new(format!("not certificates in PEM: {error:?}"))).context(read)
}

fn pair(path: &Path) -> Result<ClientCert> {
    let key_path = path.with_extension("key");
    let chain = certificates(path)?;
    let bytes = std::fs::read(&key_path)
        .context(|| format!("{} needs its key: {}", path.display(), key_path.display()))?;
    // Tested here: ureq panics on a key that does not fit the certificate.
    let key = || PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| format!("{error:?}"));
    let tried = key().and_then(|key| {
        rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            let builder = builder.with_root_certificates(rustls::RootCertStore::empty());
            builder.with_client_auth_cert(chain.clone(), key)
        })
        .map_err(|error| error.to_string())
    });
    let both = || format!("{} with {}", path.display(), key_path.display());
    tried.map_err(Error::new).context(both)?;
    let key = PrivateKey::from_pem(&bytes).map_err(Error::new).context(both)?;
    let chain: Vec<_> = chain.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
    Ok(ClientCert::new_with_certs(&chain, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_certificates_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().to_owned(), folder.path().join("none")];
        assert!(config(TransportSecurity::Verified, &folders).is_ok());
        std::fs::write(folder.path().join("client.cert"), "").unwrap();
        let error = config(TransportSecurity::Verified, &folders).unwrap_err().to_string();
        assert!(error.contains("client.key"), "{error}");
        std::fs::write(folder.path().join("client.key"), "nonsense").unwrap();
        assert!(config(TransportSecurity::Verified, &folders).is_err());
    }
}
