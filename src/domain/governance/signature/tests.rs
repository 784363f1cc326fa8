use std::path::Path;

use serde_json::Value;

use super::super::fixture::{key, private, sign_text};
use super::*;

const TEXT: &str = "any text\n";

#[test]
fn a_signature_gives_its_key() {
    let signed = sign_text(TEXT, 1, NAMESPACE);
    assert_eq!(verify(TEXT.as_bytes(), &signed.signature), Ok(key(1)));
    assert_eq!(verify(b"another text\n", &signed.signature), Err(SignatureError::Wrong));
}

#[test]
fn the_armor_is_that_of_ssh_keygen_and_any_width_is_read() {
    let signed = sign_text(TEXT, 1, NAMESPACE).signature;
    let armor = to_armor(&signed);
    assert!(armor.lines().all(|line| line.len() <= 70) && armor.ends_with("SIGNATURE-----\n"));
    assert_eq!(from_armor(&armor), Ok(signed.clone()));
    let wide =
        armor.replace('\n', "").replace("-----BEGIN SSH SIGNATURE-----", "-----BEGIN SSH SIGNATURE-----\r\n");
    assert_eq!(from_armor(&wide), Ok(signed));
    for wrong in
        ["", "x", BEGIN, &armor[1..], &armor.replace("U1NIU0lH", "U1NIU0l="), &"x".repeat(MAX_ARMOR + 1)]
    {
        assert!(from_armor(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn another_namespace_is_refused() {
    for namespace in ["file", "git", "ballot@lambda-os.org", "Ballot@lambda-os"] {
        let signed = sign_text(TEXT, 1, namespace);
        let refused = verify(TEXT.as_bytes(), &signed.signature);
        assert_eq!(
            refused,
            Err(SignatureError::Namespace { found: namespace.to_owned(), wanted: NAMESPACE })
        );
        assert_eq!(
            verify_for("git", TEXT.as_bytes(), &signed.signature).is_ok(),
            namespace == "git",
            "{namespace}"
        );
    }
}

#[test]
fn a_signature_put_together_from_its_parts_is_the_same() {
    use ed25519_dalek::Signer as _;
    let signed = signed_data(HashAlg::Sha512, TEXT.as_bytes()).unwrap();
    let seed = private(1).key_data().ed25519().unwrap().private.to_bytes();
    let raw = ed25519_dalek::SigningKey::from_bytes(&seed).sign(&signed).to_bytes();
    let framed = [&b"\0\0\0\x0bssh-ed25519\0\0\0\x40"[..], &raw].concat();
    let armor = assemble(&key(1), &framed).unwrap();
    assert_eq!(from_armor(&armor), Ok(sign_text(TEXT, 1, NAMESPACE).signature));
}

#[test]
fn nothing_is_added_to_or_cut_from_a_signature() {
    let signed = sign_text(TEXT, 1, NAMESPACE).signature;
    for length in 0..signed.len() {
        assert!(verify(TEXT.as_bytes(), &signed[..length]).is_err(), "{length}");
    }
    assert!(verify(TEXT.as_bytes(), &[&signed[..], b"\0"].concat()).is_err());
    let version = [&signed[..6], &[0, 0, 0, 0], &signed[10..]].concat();
    assert!(verify(TEXT.as_bytes(), &version).is_err());
}

/// The vectors that others keep for all who verify Ed25519, where they are at hand.
#[expect(clippy::disallowed_methods, reason = "where the vectors are is said in the environment")]
fn vectors(name: &str) -> Option<Value> {
    let Some(folder) = std::env::var_os("LAMBDA_OS_VECTORS") else {
        eprintln!("SKIPPED: {name}: LAMBDA_OS_VECTORS is not set");
        return None;
    };
    let bytes = std::fs::read(Path::new(&folder).join(name)).expect("the vectors are read");
    Some(serde_json::from_slice(&bytes).expect("the vectors are JSON"))
}

fn bytes(value: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(value.as_str().expect("hex").as_bytes()).expect("hex")
}

fn holds(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    public.try_into().is_ok_and(|public| verify_ed25519(public, message, signature).is_ok())
}

#[test]
fn wycheproof_agrees() {
    let Some(suite) = vectors("wycheproof/testvectors_v1/ed25519_test.json") else { return };
    let mut count = 0;
    for group in suite["testGroups"].as_array().expect("groups") {
        let public = bytes(&group["publicKey"]["pk"]);
        for test in group["tests"].as_array().expect("tests") {
            let valid = holds(&public, &bytes(&test["msg"]), &bytes(&test["sig"]));
            assert_eq!(valid, test["result"] == "valid", "{test}");
            count += 1;
        }
    }
    assert!(count >= 150, "{count}");
}

#[test]
fn of_the_edge_cases_only_those_without_a_flaw_hold() {
    let Some(suite) = vectors("cctv/ed25519/ed25519vectors.json") else { return };
    let tests = suite.as_array().expect("a list");
    for test in tests {
        let message = test["msg"].as_str().expect("a text").as_bytes();
        let flaws: Vec<&str> = test["flags"]
            .as_array()
            .map(|flags| flags.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        // What the strict verifier refuses: points of small order, encodings that are not canonical,
        // and equations that hold only with the cofactor.
        let refused = flaws.iter().any(|flaw| {
            matches!(
                *flaw,
                "low_order_A" | "low_order_R" | "non_canonical_A" | "non_canonical_R" | "low_order_residue"
            )
        });
        let valid = holds(&bytes(&test["key"]), message, &bytes(&test["sig"]));
        assert_eq!(valid, !refused, "{test}");
    }
    assert!(tests.len() >= 900, "{}", tests.len());
}
