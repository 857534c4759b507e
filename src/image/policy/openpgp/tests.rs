//! Damaged keys and signatures. Those that hold are in the tests of SIF files.

use std::time::SystemTime;

use proptest::prelude::*;

use super::*;

/// Bodies of packets, with headers of both forms.
fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[0xc0 | tag, 255][..], &(body.len() as u32).to_be_bytes(), body].concat()
}

fn armored(label: &str, bytes: &[u8]) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let base64 = BASE64_STANDARD.encode(bytes);
    format!("-----BEGIN PGP {label}-----\n\n{base64}\n-----END PGP {label}-----\n")
}

fn keys_message(bytes: &[u8]) -> String {
    read_certificates(bytes).unwrap_err().to_string()
}

#[test]
fn what_is_no_public_key_is_named() {
    assert!(keys_message(b"").contains("no public key"));
    assert!(keys_message(b"-----BEGIN PUBLIC KEY-----\n").contains("no public key"));
    assert!(keys_message(&[0xff]).contains("damaged"));
    assert!(keys_message(&packet(5, &[4; 40])).contains("secret key"));
    assert!(keys_message(&packet(6, &[6; 40])).contains("version 4"));
    let unfinished = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n";
    assert!(keys_message(unfinished.as_bytes()).contains("has no end"));
    let unreadable = armored("PUBLIC KEY BLOCK", &[1, 2]).replace("AQI=", "?");
    assert!(keys_message(unreadable.as_bytes()).contains("not base64"));
}

proptest! {
    #[test]
    fn no_bytes_are_more_than_an_error(
        tag in 0_u8..20,
        body in prop::collection::vec(any::<u8>(), 0..200),
        version in 3_u8..7,
    ) {
        let body = [&[version][..], &body].concat();
        let key = packet(6, &[&[4, 0, 0, 0, 1, 22, 9, 0x2b, 6, 1, 4, 1, 0xda, 0x47, 0x0f, 1, 1, 7, 0x40][..], &[7; 32]].concat());
        let bytes = [key, packet(tag, &body)].concat();
        if let Ok(keys) = read_certificates(&bytes) {
            let text = format!("-----BEGIN PGP SIGNED MESSAGE-----\n\nx\n{}", armored("SIGNATURE", &packet(2, &body)));
            prop_assert!(verify_clear_text(text.as_bytes(), &keys, SystemTime::now()).is_err());
        }
    }

    #[test]
    fn no_text_without_a_key_is_more_than_an_error(text in "(-----BEGIN PGP SIGNED MESSAGE-----\n)?(Hash: SHA256\n)?\n?[- a\n]{0,40}(-----BEGIN PGP SIGNATURE-----)?\n*[A-Z=\n]{0,30}(-----END PGP SIGNATURE-----)?") {
        prop_assert!(verify_clear_text(text.as_bytes(), &[], SystemTime::now()).is_err());
    }
}
