//! Keys in FIDO tokens. The token is made here by the documented formats (PROTOCOL.u2f and
//! PROTOCOL.sshsig of OpenSSH): it signs hashes of its application and of the message around its
//! flags and its counter. `ssh-keygen` says independently whether what it made is right.

use std::process::Command;

use data_encoding::{BASE64, BASE64_MIME};
use ed25519_dalek::Signer as _;
use sha2::{Digest as _, Sha256};
use ssh_key::private::KeypairData;
use ssh_key::public::{EcdsaPublicKey, KeyData};
use ssh_key::{HashAlg, PrivateKey, SshSig};

use crate::support::environment;
use crate::world::{NAMESPACE, World, finished};

const APPLICATION: &str = "ssh:";
const TOUCHED: u8 = 0x01;
const PIN_ENTERED: u8 = 0x04;

/// A token with one key.
struct Token {
    inner: PrivateKey,
    kind: &'static str,
    public: Vec<u8>,
}

fn field(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("it is short");
    [&length.to_be_bytes()[..], bytes].concat()
}

impl Token {
    /// A token around a key that `ssh-keygen` made.
    fn new(world: &World, name: &str, arguments: &[&str]) -> Self {
        let file = std::fs::read_to_string(world.key(name, arguments)).expect("a key");
        let inner = PrivateKey::from_openssh(file).expect("a key");
        let (kind, point) = match inner.public_key().key_data() {
            KeyData::Ed25519(key) => ("sk-ssh-ed25519@openssh.com", field(&key.0)),
            KeyData::Ecdsa(EcdsaPublicKey::NistP256(point)) => {
                let point = [field(b"nistp256"), field(point.as_bytes())].concat();
                ("sk-ecdsa-sha2-nistp256@openssh.com", point)
            }
            other => panic!("no token holds {other:?}"),
        };
        let public = [field(kind.as_bytes()), point, field(APPLICATION.as_bytes())].concat();
        Self { inner, kind, public }
    }

    fn line(&self) -> String {
        format!("{} {}", self.kind, BASE64.encode(&self.public))
    }

    /// The armored signature over a text.
    fn sign(&self, text: &str, flags: u8, counter: u32) -> Vec<u8> {
        self.sign_for(APPLICATION, text, flags, counter)
    }

    fn sign_for(&self, application: &str, text: &str, flags: u8, counter: u32) -> Vec<u8> {
        let message = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, text.as_bytes()).expect("data");
        let trailer = [&[flags][..], &counter.to_be_bytes()].concat();
        let signed = [&Sha256::digest(application)[..], &trailer, &Sha256::digest(message)[..]].concat();
        let raw = match self.inner.key_data() {
            KeypairData::Ed25519(pair) => pair.try_sign(&signed),
            KeypairData::Ecdsa(pair) => pair.try_sign(&signed),
            other => panic!("no token holds {:?}", other.algorithm()),
        };
        let raw = raw.expect("it signs");
        let signature = [field(self.kind.as_bytes()), field(raw.as_bytes()), trailer].concat();
        let whole = [
            b"SSHSIG".to_vec(),
            1_u32.to_be_bytes().to_vec(),
            field(&self.public),
            field(NAMESPACE.as_bytes()),
            field(b""),
            field(b"sha512"),
            field(&signature),
        ];
        let body = BASE64_MIME.encode(&whole.concat());
        format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", body.trim_end())
            .replace('\r', "")
            .into_bytes()
    }
}

/// A workspace that two people decide over, each with a token of another kind.
fn tokens() -> (World, [(&'static str, Token); 2]) {
    let world = World::new();
    let tokens = [
        ("ann", Token::new(&world, "ann", &["-t", "ed25519"])),
        ("ben", Token::new(&world, "ben", &["-t", "ecdsa", "-b", "256"])),
    ];
    let mut args = Vec::new();
    for (name, token) in &tokens {
        let path = world.home().join(format!("{name}-token.pub"));
        std::fs::write(&path, format!("{} {name}'s token\n", token.line())).expect("a file");
        args.extend(["--trust".to_owned(), path.to_string_lossy().into_owned()]);
        args.extend(["--as".to_owned(), (*name).to_owned()]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    world.init(&args);
    (world, tokens)
}

/// Whether `ssh-keygen` says that a signature holds.
fn ssh_keygen_agrees(world: &World, name: &str, token: &Token, text: &str, armor: &[u8]) -> bool {
    let (allowed, signature) = (world.home().join("allowed_signers"), world.home().join("one.sig"));
    std::fs::write(&allowed, format!("{name} {}\n", token.line())).expect("a file");
    std::fs::write(&signature, armor).expect("a file");
    let file = world.home().join("one.ballot");
    std::fs::write(&file, text).expect("a file");
    let mut command = Command::new("ssh-keygen");
    command.env_clear().envs(environment(world.home())).args(["-Y", "verify", "-n", NAMESPACE, "-I", name]);
    command.arg("-f").arg(&allowed).arg("-s").arg(&signature);
    command.stdin(std::fs::File::open(&file).expect("a file"));
    command.output().expect("ssh-keygen runs").status.success()
}

#[test]
fn what_a_token_signs_is_taken_in_and_ssh_keygen_agrees() {
    let (world, tokens) = tokens();
    let id = world.proposals().remove(0);
    for (name, token) in &tokens {
        let text = world.ballot(&id, &["--as", name]);
        let armor = token.sign(&text, TOUCHED | PIN_ENTERED, 7);
        assert!(ssh_keygen_agrees(&world, name, token, &text, &armor), "{name}");
        let message = [text.as_bytes(), &armor].concat();
        std::fs::write(world.inbox().join(format!("{name}.ballot")), message).expect("a file");
    }
    world.ok(&["run", "--once"]);
    let voters: Vec<String> =
        world.entries("ballot.cast").iter().map(|entry| entry["body"]["voter"].to_string()).collect();
    assert_eq!(
        (voters, world.entries("ballot.refused").len()),
        (vec!["\"ann\"".into(), "\"ben\"".into()], 0)
    );
    world.ok(&["proposal", "apply", &id]);
    world.audited();
}

#[test]
fn what_a_token_signed_for_nothing_or_something_else_is_refused() {
    let (world, tokens) = tokens();
    let id = world.proposals().remove(0);
    let mut wanted = Vec::new();
    for (name, token) in &tokens {
        let text = world.ballot(&id, &["--as", name]);
        let good = token.sign(&text, TOUCHED, 9);
        let body = BASE64_MIME
            .decode(
                String::from_utf8_lossy(&good)
                    .lines()
                    .filter(|line| !line.starts_with('-'))
                    .fold(String::new(), |all, line| all + line)
                    .as_bytes(),
            )
            .expect("base64");
        // The counter that stands in it is not the one that was signed.
        let mut recounted = body.clone();
        *recounted.last_mut().expect("a counter") ^= 1;
        let recounted = format!(
            "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
            BASE64.encode(&recounted)
        );
        for (kind, armor, says) in [
            ("untouched", token.sign(&text, 0, 9), "nobody touched"),
            ("verified-only", token.sign(&text, PIN_ENTERED, 9), "nobody touched"),
            ("elsewhere", token.sign_for("ssh:other", &text, TOUCHED, 9), "does not hold"),
            ("other-text", token.sign(&text.replace("approve", "abstain"), TOUCHED, 9), "does not hold"),
            ("recounted", recounted.into_bytes(), "does not hold"),
        ] {
            // ssh-keygen refuses them too, but for the touch, which it leaves to whoever asks.
            let agrees = ssh_keygen_agrees(&world, name, token, &text, &armor);
            assert!(!agrees || says == "nobody touched", "{name} {kind}");
            let message = [text.as_bytes(), &armor].concat();
            std::fs::write(world.inbox().join(format!("{name}-{kind}.ballot")), message).expect("a file");
            wanted.push(says);
        }
    }
    world.ok(&["run", "--once"]);
    assert_eq!(world.entries("ballot.cast").len(), 0);
    let mut reasons: Vec<String> =
        world.entries("ballot.refused").iter().map(|entry| entry["body"]["reason"].to_string()).collect();
    assert_eq!(reasons.len(), wanted.len(), "{reasons:?}");
    for says in wanted {
        let at = reasons.iter().position(|reason| reason.contains(says));
        reasons.remove(at.unwrap_or_else(|| panic!("{says}: {reasons:?}")));
    }
}

#[test]
fn a_token_without_its_hand_is_named_as_such() {
    let (world, tokens) = tokens();
    let id = world.proposals().remove(0);
    let path = world.home().join("ann-token.pub");
    // No agent has it, and the token's handle is not in a public key.
    world
        .run(&["proposal", "approve", &id, "--key", &path.to_string_lossy()])
        .failed(2, "is a public key, and no ssh-agent is at hand");
    assert_eq!(tokens[0].1.kind, "sk-ssh-ed25519@openssh.com");
    let mut command = Command::new("ssh-keygen");
    command.env_clear().envs(environment(world.home())).arg("-l").arg("-f").arg(&path);
    let shown = String::from_utf8(finished(&mut command, b"")).expect("UTF-8");
    let members = world.ok(&["init", "--json"]).json();
    let fingerprint = members["members"]["principals"][0]["keys"][0].as_str().expect("a fingerprint");
    assert!(shown.contains(fingerprint), "{shown}");
}
