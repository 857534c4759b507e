//! Signatures of gpg and openssl in SIF files, and files that were changed after they were signed.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use base64::prelude::{BASE64_STANDARD, Engine};

use super::*;

/// Group of an object that is in no group.
const NO_GROUP: u32 = 0xf000_0000;
const GROUP: u32 = 0xf000_0001;
const OTHER_GROUP: u32 = 0xf000_0002;
const OVERLAY: i32 = 4;

/// Keys of gpg and openssl, in folders of their own.
struct Signer {
    folder: tempfile::TempDir,
    /// Fingerprint of the primary key.
    fingerprint: String,
}

impl Drop for Signer {
    fn drop(&mut self) {
        let _ = self.command("gpgconf", &["--kill", "all"]).output();
    }
}

impl Signer {
    /// Makes a key of gpg's algorithm `algorithm`, with that use and that end.
    fn gpg(algorithm: &str, usage: &str, end: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("k").tempdir().unwrap();
        let mut signer = Self { folder, fingerprint: String::new() };
        signer.run_gpg(&["--quick-gen-key", "Signer <s@example.org>", algorithm, usage, end]);
        let listed = signer.run_gpg(&["--with-colons", "--list-keys"]);
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        signer.fingerprint = line.trim_matches([':', 'f', 'p', 'r']).to_owned();
        signer
    }

    fn openssl(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let signer = Self { folder, fingerprint: String::new() };
        signer.run("openssl", &[&["genpkey", "-out", "key"], options].concat());
        signer.run("openssl", &["pkey", "-in", "key", "-pubout", "-out", "pub"]);
        signer
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.folder).env("GNUPGHOME", self.folder.path());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let output = self.command(program, arguments).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
        output
    }

    fn run_gpg(&self, arguments: &[&str]) -> String {
        let first = ["--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""];
        let output = self.run("gpg", &[&first[..], arguments].concat());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Adds a subkey.
    fn add_subkey(&self, algorithm: &str, usage: &str) {
        self.run_gpg(&["--quick-add-key", &self.fingerprint, algorithm, usage, "never"]);
    }

    /// File with the public key.
    fn public(&self) -> PathBuf {
        if self.fingerprint.is_empty() {
            return self.folder.path().join("pub");
        }
        self.run_gpg(&["--output", "public.asc", "--armor", "--export", &self.fingerprint]);
        self.folder.path().join("public.asc")
    }

    /// Clear-text signature of a text by the newest key that signs.
    fn clear_sign(&self, text: &str) -> Vec<u8> {
        fs::write(self.folder.path().join("text"), text).unwrap();
        self.run_gpg(&["--output", "signed", "--clear-sign", "text"]);
        fs::read(self.folder.path().join("signed")).unwrap()
    }

    /// Envelope around a text.
    fn envelope(&self, text: &str) -> Vec<u8> {
        let kind = "application/vnd.sylabs.sif-metadata+json";
        let signed = format!("DSSEv1 {} {kind} {} {text}", kind.len(), text.len());
        fs::write(self.folder.path().join("text"), signed).unwrap();
        let words = ["dgst", "-sha256", "-sign", "key", "-out", "signature", "text"];
        self.run("openssl", &words);
        let signature = fs::read(self.folder.path().join("signature")).unwrap();
        let signature = json!({"keyid": "", "sig": BASE64_STANDARD.encode(signature)});
        let payload = BASE64_STANDARD.encode(text);
        json!({"payloadType": kind, "payload": payload, "signatures": [signature]})
            .to_string()
            .into_bytes()
    }

    /// Signature object for a group, around the signed text `bytes`.
    fn object(&self, group: u32, bytes: Vec<u8>) -> NewObject {
        let digits = self.fingerprint.as_bytes().chunks(2);
        let byte = |digits| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
        let extra = [&1_i32.to_le_bytes()[..], &digits.map(byte).collect::<Vec<u8>>()].concat();
        NewObject { group: NO_GROUP, link: group, extra, ..NewObject::new(SIGNATURE, bytes) }
    }

    /// Adds signatures of the objects with the IDs `ids` in their group.
    fn sign(&self, objects: &[NewObject], ids: &[usize], group: u32) -> Vec<NewObject> {
        let text = statement(objects, ids, group);
        let bytes = match self.fingerprint.is_empty() {
            true => self.envelope(&text),
            false => self.clear_sign(&text),
        };
        [objects, &[self.object(group, bytes)]].concat()
    }

    /// Requirement of a signature by the key.
    fn requirement(&self) -> Value {
        let path = self.public();
        match self.fingerprint.is_empty() {
            true => json!({"type": "sigstoreSigned", "keyPath": path}),
            false => json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": path}),
        }
    }
}

/// Statement that apptainer would sign.
fn statement(objects: &[NewObject], ids: &[usize], group: u32) -> String {
    let bytes = sif(objects);
    let lowest = objects.iter().position(|object| object.group == group).unwrap() + 1;
    let signed = ids.iter().map(|id| {
        let object = &objects[id - 1];
        let relative = (id - lowest) as u32;
        let mut fields = object.kind.to_le_bytes().to_vec();
        fields.push(1);
        fields.extend_from_slice(&relative.to_le_bytes());
        fields.extend_from_slice(&object.link.to_le_bytes());
        fields.extend_from_slice(&(object.bytes.len() as u64).to_le_bytes());
        // Time and owner.
        fields.extend_from_slice(&[0; 24]);
        fields.extend_from_slice(&[b'n'; 128]);
        fields.extend_from_slice(&object.extra);
        fields.resize(4 + 1 + 4 + 4 + 8 + 24 + 128 + EXTRA, 0);
        json!({
            "relativeId": relative,
            "descriptorDigest": Digest::of(&fields),
            "objectDigest": Digest::of(&object.bytes),
        })
    });
    let signed: Vec<Value> = signed.collect();
    let header = [&bytes[..45], &bytes[48..64]].concat();
    json!({"version": 1, "header": {"digest": Digest::of(&header)}, "objects": signed}).to_string()
}

/// Verdict of a policy with these requirements on a file.
fn judge(bytes: &[u8], requirements: &[Value]) -> Result<()> {
    judge_use(bytes, requirements, SifUse::RootAndOverlays)
}

fn judge_use(bytes: &[u8], requirements: &[Value], parts: SifUse) -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let (path, policy) = (folder.path().join("image.sif"), folder.path().join("policy.json"));
    fs::write(&path, bytes).unwrap();
    fs::write(&policy, json!({"default": requirements}).to_string()).unwrap();
    let open = File::open(&path).unwrap();
    let policy = SignaturePolicy::load_from(&policy)?;
    SifImage::open(&open)?.approve(&policy, &open, &path, parts)
}

fn refusal(bytes: &[u8], requirement: Value) -> String {
    let error = judge(bytes, &[requirement]).unwrap_err();
    format!("{error} {}", error.hint_text().unwrap_or_default())
}

/// Labels and a root, of one group.
fn plain_objects() -> Vec<NewObject> {
    vec![NewObject::new(LABELS, r#"{"a":"b"}"#), NewObject::partition(1, 2, &squashfs(&["bin/sh"]))]
}

#[test]
fn signatures_of_gpg_by_all_known_kinds_of_keys_are_verified() {
    let objects = plain_objects();
    for algorithm in ["rsa2048", "ed25519", "nistp256", "nistp384"] {
        let signer = Signer::gpg(algorithm, "sign", "never");
        let signed = sif(&signer.sign(&objects, &[1, 2], GROUP));
        judge(&signed, &[signer.requirement()])
            .unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        let mut changed = signed.clone();
        let at = signed.windows(6).rposition(|bytes| bytes == b"sha256").unwrap() + 10;
        changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
        let text = refusal(&changed, signer.requirement());
        assert!(
            text.contains("is not of this text") && text.contains(&signer.fingerprint),
            "{text}"
        );
        signer.add_subkey("ed25519", "sign");
        let by_subkey = sif(&signer.sign(&objects, &[1, 2], GROUP));
        judge(&by_subkey, &[signer.requirement()]).unwrap();
    }
}

#[test]
fn weak_keys_and_hashes_do_not_count() {
    let objects = plain_objects();
    let signer = Signer::gpg("rsa1024", "sign", "never");
    let signed = sif(&signer.sign(&objects, &[1, 2], GROUP));
    assert!(refusal(&signed, signer.requirement()).contains("weak algorithm"));
    let signer = Signer::gpg("rsa2048", "sign", "never");
    fs::write(signer.folder.path().join("text"), statement(&objects, &[1, 2], GROUP)).unwrap();
    signer.run_gpg(&["--digest-algo", "SHA1", "--output", "signed", "--clear-sign", "text"]);
    let bytes = fs::read(signer.folder.path().join("signed")).unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains("Hash: SHA1"));
    let signed = sif(&[&objects[..], &[signer.object(GROUP, bytes)]].concat());
    assert!(refusal(&signed, signer.requirement()).contains("weak algorithm"));
}

#[test]
fn envelopes_by_keys_of_openssl_are_verified() {
    let objects = plain_objects();
    for options in [
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"][..],
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    ] {
        let (signer, other) = (Signer::openssl(options), Signer::openssl(options));
        let signed = sif(&signer.sign(&objects, &[1, 2], GROUP));
        judge(&signed, &[signer.requirement()]).unwrap();
        assert!(refusal(&signed, other.requirement()).contains("not signed by the policy's key"));
        let mut changed = signed.clone();
        let at = signed.windows(9).rposition(|bytes| bytes == b"\"payload\"").unwrap() + 20;
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(judge(&changed, &[signer.requirement()]).is_err());
    }
}

/// Offset of a descriptor of the writer.
fn descriptor_at(id: usize) -> usize {
    4096 + (id - 1) * DESCRIPTOR
}

#[test]
fn a_change_of_header_descriptor_or_object_is_refused() {
    let signer = Signer::gpg("ed25519", "sign", "never");
    let objects = plain_objects();
    let signed = sif(&signer.sign(&objects, &[1, 2], GROUP));
    let root = SifImage::open(&file(&signed)).unwrap().root().unwrap();
    let last = (root.offset + root.size) as usize - 1;
    let requirement = signer.requirement();
    for (at, text) in [
        (2, "header of the file was changed"),
        (60, "header of the file was changed"),
        (descriptor_at(2) + 45, "descriptor of data object 2 was changed"),
        (descriptor_at(2) + 100, "descriptor of data object 2 was changed"),
        (descriptor_at(1) + 300, "descriptor of data object 1 was changed"),
        (last, ": data object 2 was changed"),
    ] {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        let refused = refusal(&changed, requirement.clone());
        assert!(refused.contains(text) && refused.contains("image.sif"), "{text}: {refused}");
    }
    // Another object under the place of the signed one.
    let mut moved = signed.clone();
    let [one, two] = [1, 2].map(|id| descriptor_at(id) + 17);
    moved.copy_within(one..one + 8, two);
    assert!(judge(&moved, &[requirement]).is_err());
}

#[test]
fn only_keys_of_the_policy_count() {
    let (signer, other) =
        (Signer::gpg("ed25519", "sign", "never"), Signer::gpg("ed25519", "sign", "never"));
    let signed = sif(&signer.sign(&plain_objects(), &[1, 2], GROUP));
    let refused = refusal(&signed, other.requirement());
    assert!(refused.contains("none of the policy's keys"), "{refused}");
    assert!(refused.contains(&format!("gpg --export --armor {}", signer.fingerprint)), "{refused}");
    let both = json!({
        "type": "signedBy", "keyType": "GPGKeys", "keyPaths": [other.public(), signer.public()],
    });
    judge(&signed, &[both]).unwrap();
    assert!(judge(&signed, &[signer.requirement(), other.requirement()]).is_err());
    let data = BASE64_STANDARD.encode(fs::read(signer.public()).unwrap());
    judge(&signed, &[json!({"type": "signedBy", "keyType": "GPGKeys", "keyData": data})]).unwrap();
    signer.run_gpg(&["--output", "binary", "--export", &signer.fingerprint]);
    let path = signer.folder.path().join("binary");
    judge(&signed, &[json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": path})]).unwrap();
    // Both signers sign.
    let objects = plain_objects();
    let twice = signer.sign(&objects, &[1, 2], GROUP);
    let second = other.sign(&objects, &[1, 2], GROUP);
    let twice = sif(&[&twice[..], &second[2..]].concat());
    judge(&twice, &[signer.requirement(), other.requirement()]).unwrap();
}

#[test]
fn expired_and_revoked_keys_do_not_count() {
    let objects = plain_objects();
    let expired = Signer::gpg("ed25519", "sign", "seconds=1000");
    let signed = sif(&expired.sign(&objects, &[1, 2], GROUP));
    judge(&signed, &[expired.requirement()]).unwrap();
    // A key of yesterday that lived for an hour: the clock of gpg is set back.
    let faked = ["--faked-system-time", "20200102T000000!"];
    expired.run_gpg(
        &[&faked[..], &["--quick-gen-key", "Old <o@example.org>", "ed25519", "sign", "1d"]]
            .concat(),
    );
    let listed = expired.run_gpg(&["--with-colons", "--list-keys", "o@example.org"]);
    let old = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
    let old = old.trim_matches([':', 'f', 'p', 'r']).to_owned();
    let text = statement(&objects, &[1, 2], GROUP);
    fs::write(expired.folder.path().join("text"), text).unwrap();
    expired.run_gpg(
        &[&faked[..], &["--local-user", &old, "--output", "signed", "--clear-sign", "text"]]
            .concat(),
    );
    let bytes = fs::read(expired.folder.path().join("signed")).unwrap();
    expired.run_gpg(&["--output", "old.asc", "--armor", "--export", &old]);
    let path = expired.folder.path().join("old.asc");
    let signed = sif(&[&objects[..], &[expired.object(GROUP, bytes)]].concat());
    let refused =
        refusal(&signed, json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": path}));
    assert!(refused.contains(&format!("the key {old} expired on 2020-01-03")), "{refused}");

    let revoked = Signer::gpg("ed25519", "sign", "never");
    let old = revoked.folder.path().join("before.asc");
    fs::copy(revoked.public(), &old).unwrap();
    let signed = sif(&revoked.sign(&objects, &[1, 2], GROUP));
    let certificate = format!("openpgp-revocs.d/{}.rev", revoked.fingerprint);
    let path = revoked.folder.path().join(certificate);
    // gpg writes it with a colon that guards against use by accident.
    let text = fs::read_to_string(&path).unwrap().replace("\n:-----", "\n-----");
    fs::write(&path, text).unwrap();
    revoked.run_gpg(&["--import", path.to_str().unwrap()]);
    let refused = refusal(&signed, revoked.requirement());
    let text = format!("the key {} was revoked", revoked.fingerprint);
    assert!(refused.contains(&text), "{refused}");
    let older = json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": old});
    judge(&signed, std::slice::from_ref(&older)).unwrap();
    let both = json!({
        "type": "signedBy", "keyType": "GPGKeys", "keyPaths": [old, revoked.public()],
    });
    assert!(refusal(&signed, both).contains(&text));
}

#[test]
fn a_subkey_that_is_revoked_or_does_not_sign_does_not_count() {
    let objects = plain_objects();
    let signer = Signer::gpg("ed25519", "cert", "never");
    signer.add_subkey("ed25519", "sign");
    let signed = sif(&signer.sign(&objects, &[1, 2], GROUP));
    judge(&signed, &[signer.requirement()]).unwrap();
    let edit = "key 1\nrevkey\ny\n0\n\ny\nsave\n";
    fs::write(signer.folder.path().join("edit"), edit).unwrap();
    let words =
        "gpg --no-tty --pinentry-mode loopback --passphrase '' --command-fd 0 --edit-key $0 < edit";
    signer.run("sh", &["-c", words, &signer.fingerprint]);
    let refused = refusal(&signed, signer.requirement());
    assert!(refused.contains("was revoked"), "{refused}");
}

#[test]
fn what_no_signature_covers_is_refused() {
    let signer = Signer::gpg("ed25519", "sign", "never");
    let requirement = signer.requirement();
    let objects = plain_objects();
    assert!(refusal(&sif(&objects), requirement.clone()).contains("no OpenPGP signature"));
    // The signature covers the root alone, and the labels were added.
    let partly = sif(&signer.sign(&objects, &[2], GROUP));
    let refused = refusal(&partly, requirement.clone());
    assert!(refused.contains("data object 1 is not signed"), "{refused}");
    // Several signatures together cover all.
    let mut together = signer.sign(&objects, &[2], GROUP);
    together.extend(signer.sign(&objects, &[1], GROUP).pop());
    judge(&sif(&together), std::slice::from_ref(&requirement)).unwrap();

    let overlay = NewObject::partition(1, OVERLAY, &squashfs(&["etc/passwd"]));
    for group in [GROUP, OTHER_GROUP, NO_GROUP] {
        let signed = signer.sign(&objects, &[1, 2], GROUP);
        let signed = sif(&[&signed[..], &[NewObject { group, ..overlay.clone() }]].concat());
        let error = judge(&signed, std::slice::from_ref(&requirement)).unwrap_err().to_string();
        assert!(error.contains("not signed") || error.contains("no OpenPGP signature"), "{error}");
        judge_use(&signed, std::slice::from_ref(&requirement), SifUse::Root).unwrap();
    }
    // No part of a group: nothing can sign it.
    let mut loose = objects.clone();
    loose[0].group = NO_GROUP;
    let loose = sif(&signer.sign(&loose, &[2], GROUP));
    assert!(refusal(&loose, requirement).contains("data object 1 is not signed"));
}

#[test]
fn a_signature_of_another_group_or_of_another_file_covers_nothing() {
    let signer = Signer::gpg("ed25519", "sign", "never");
    let requirement = signer.requirement();
    let mut objects = plain_objects();
    objects.push(NewObject { group: OTHER_GROUP, ..NewObject::new(7, "other") });
    let other = signer.sign(&objects, &[3], OTHER_GROUP);
    assert!(refusal(&sif(&other), requirement.clone()).contains("no OpenPGP signature"));
    let mut claimed = other.clone();
    claimed[3].link = GROUP;
    let refused = refusal(&sif(&claimed), requirement.clone());
    assert!(refused.contains("data object 1 was changed"), "{refused}");

    let elsewhere =
        signer.sign(&[NewObject::new(LABELS, "{}"), objects[1].clone()], &[1, 2], GROUP);
    let copied = sif(&[&objects[..2], &elsewhere[2..]].concat());
    assert!(refusal(&copied, requirement.clone()).contains("data object 1 was changed"));

    let mut twice = sif(&signer.sign(&objects[..2], &[1, 2], GROUP));
    twice[descriptor_at(1) + 5] = 2;
    assert!(refusal(&twice, requirement.clone()).contains("two data objects have the ID 2"));

    let mut named = signer.sign(&objects[..2], &[1, 2], GROUP);
    named[2].extra[6] ^= 1;
    assert!(refusal(&sif(&named), requirement).contains("names another signer"));
}

#[test]
fn an_image_of_oci_blobs_is_verified_with_all_its_documents() {
    let signer = Signer::gpg("ed25519", "sign", "never");
    let objects = oci_sif(&[squashfs(&["low"]), squashfs(&["high"])], LAYER);
    let ids: Vec<usize> = (1..=objects.len()).collect();
    let signed = signer.sign(&objects, &ids, GROUP);
    judge(&sif(&signed), &[signer.requirement()]).unwrap();
    for left_out in &ids {
        let some: Vec<usize> = ids.iter().copied().filter(|id| id != left_out).collect();
        let signed = sif(&signer.sign(&objects, &some, GROUP));
        let refused = refusal(&signed, signer.requirement());
        assert!(refused.contains(&format!("data object {left_out} is not signed")), "{refused}");
    }
}

#[test]
fn signatures_that_are_none_are_named() {
    let signer = Signer::gpg("ed25519", "sign", "never");
    let objects = plain_objects();
    let signed = |bytes: Vec<u8>| sif(&[&objects[..], &[signer.object(GROUP, bytes)]].concat());
    let legacy = signer.clear_sign("SIFHASH:\n2f0b3dca0ec4\n");
    let clear = String::from_utf8(signer.clear_sign(&statement(&objects, &[1, 2], GROUP))).unwrap();
    let later = clear.replacen("Hash: ", "NotDashEscaped: You need GnuPG\nHash: ", 1);
    for (bytes, text) in [
        (b"sig".to_vec(), "does not begin with -----BEGIN PGP SIGNED MESSAGE-----"),
        (b"{}".to_vec(), "no OpenPGP signature"),
        (legacy, "before Singularity 3.6"),
        (signer.clear_sign("{}"), "signed statement"),
        (later.into_bytes(), "unknown header"),
        (clear.as_bytes()[..clear.len() - 40].to_vec(), "has no end"),
    ] {
        let refused = refusal(&signed(bytes), signer.requirement());
        assert!(refused.contains(text), "{text}: {refused}");
    }
    // The text of a policy that asks for more than a SIF file has.
    let mut requirement = signer.requirement();
    requirement["signedIdentity"] = json!({"type": "matchRepository"});
    assert!(refusal(&signed(clear.into_bytes()), requirement).contains("signedIdentity"));
}
