use super::*;

/// Made with Python's `cryptography` (Ed25519) and `json.dumps(sort_keys=True, separators=(",", ":"))`,
/// once with and once without `ensure_ascii`.
const VECTORS: &str = include_str!("vectors.json");

#[derive(Deserialize)]
struct Vector {
    form: Form,
    key: String,
    did: String,
    text: String,
    #[serde(default)]
    signature: String,
}

fn vectors(form: Form) -> Vec<Vector> {
    let all: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    let some: Vec<Vector> = all.into_iter().filter(|vector| vector.form == form).collect();
    assert!(!some.is_empty());
    some
}

fn keys(vector: &Vector) -> PublisherKeys {
    [("release-2026".to_owned(), vector.key.parse().unwrap())].into()
}

#[test]
fn what_another_program_signed_is_read_in_both_forms() {
    for vector in vectors(Form::Manifest) {
        let signed = manifest(vector.text.as_bytes(), vector.signature.as_bytes()).unwrap();
        let (name, version) = (Some("waku_module".to_owned()), Some("1.4.0".to_owned()));
        let key: PublisherKey = vector.key.parse().unwrap();
        assert_eq!(signed, Signed { form: Form::Manifest, key, name, version });
        assert_eq!(key.did(), vector.did);
        assert_eq!(vector.did.parse(), Ok(key));
    }
    let spellings = vectors(Form::Metadata);
    assert_eq!(spellings.len(), 2);
    for vector in spellings {
        let signed = metadata(vector.text.as_bytes(), &keys(&vector)).unwrap().unwrap();
        assert_eq!((signed.key.to_string(), signed.name.as_deref()), (vector.key, Some("waku_module")));
    }
}

#[test]
fn no_byte_of_a_signed_manifest_can_change() {
    let vector = &vectors(Form::Manifest)[0];
    let signature = vector.signature.as_bytes();
    for at in 0..vector.text.len() {
        let mut changed = vector.text.clone().into_bytes();
        changed[at] ^= 1;
        assert!(manifest(&changed, signature).is_err(), "byte {at}");
    }
    let longer = format!("{}\n", vector.text);
    assert_eq!(manifest(longer.as_bytes(), signature), Err(SignedError::Wrong("manifest.sig")));
}

#[test]
fn no_value_of_signed_metadata_can_change_and_its_layout_can() {
    let vector = &vectors(Form::Metadata)[0];
    let read = |text: &str| metadata(text.as_bytes(), &keys(vector));
    for (from, to) in [
        ("1.4.0", "1.4.1"),
        ("\"messaging\"", ""),
        ("true", "false"),
        ("-2", "2"),
        ("\"z\"", "\"y\""),
        ("\"a\": []", "\"a\": {}"),
        ("{\n    \"name\"", "{\n    \"rln\": true, \"name\""),
    ] {
        let changed = vector.text.replacen(from, to, 1);
        assert_ne!(changed, vector.text, "{from}");
        assert_eq!(read(&changed), Err(SignedError::Wrong("metadata.json")), "{from}");
    }
    let wide = vector.text.replace('\n', "\n\n").replace("\": ", "\" : ");
    assert!(read(&wide).unwrap().is_some());
}

#[test]
fn another_signature_or_key_is_refused_with_its_reason() {
    let vector = &vectors(Form::Manifest)[0];
    let (text, signature) = (vector.text.as_bytes(), vector.signature.as_str());
    let other: PublisherKey = vectors(Form::Metadata)[0].key.parse().unwrap();
    for (from, to, said) in [
        (vector.did.as_str(), other.did().as_str(), "does not hold"),
        ("\"version\": 1", "\"version\": 2", "version is not 1"),
        ("\"ed25519\"", "\"none\"", "algorithm is not ed25519"),
        ("\"linkedDids\": []", "\"did\": \"x\"", "no JSON that every reader"),
        ("did:jwk:", "did:key:", "no did:jwk"),
        ("did:jwk:ey", "did:jwk:ez", "no Ed25519 key"),
        ("==\"", "\"", "64 bytes in base64"),
    ] {
        let changed = signature.replacen(from, to, 1);
        assert_ne!(changed, signature, "{from}");
        let error = manifest(text, changed.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let vector = &vectors(Form::Metadata)[0];
    let stranger = [("release-2026".to_owned(), other.did().parse().unwrap())].into();
    assert!(metadata(vector.text.as_bytes(), &stranger).is_ok(), "the same key, by its DID");
    let another = [("release-2026".to_owned(), vectors(Form::Manifest)[0].key.parse().unwrap())].into();
    assert_eq!(metadata(vector.text.as_bytes(), &another), Err(SignedError::Wrong("metadata.json")));
    let nobody = metadata(vector.text.as_bytes(), &PublisherKeys::new());
    assert_eq!(nobody, Err(SignedError::UnknownKey("release-2026".to_owned())));
    let cut = vector.text.replacen("release-2026:", "release-2026:00", 1);
    assert!(metadata(cut.as_bytes(), &keys(vector)).unwrap_err().to_string().contains("64 bytes in hex"));
    let bare = vector.text.replacen("release-2026:", "", 1);
    assert!(metadata(bare.as_bytes(), &keys(vector)).unwrap_err().to_string().contains("key_id:hex"));
    assert_eq!(metadata(br#"{"name":"x"}"#, &keys(vector)), Ok(None));
    for odd in [&b"[]"[..], b"{\"a\":1,\"a\":1}", b"{\"a\":1.5}", b"\xff", b"\xef\xbb\xbf{}"] {
        assert!(metadata(odd, &keys(vector)).is_err(), "{odd:?}");
    }
}

#[test]
fn keys_that_sign_for_several_messages_are_no_keys() {
    for (weak, why) in [
        ("0000000000000000000000000000000000000000000000000000000000000000", "full order"),
        ("0100000000000000000000000000000000000000000000000000000000000000", "full order"),
        ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "full order"),
        ("00", "64 hex digits"),
        ("did:jwk:", "64 hex digits"),
        ("ssh-ed25519 AAAA", "64 hex digits"),
    ] {
        let error = weak.parse::<PublisherKey>().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    // Another JSON of the same key is another DID, and not accepted.
    let key: PublisherKey = vectors(Form::Manifest)[0].key.parse().unwrap();
    let spaced = jwk(&key.0).replace(',', ", ");
    let did = format!("{DID}{}", BASE64URL_NOPAD.encode(spaced.as_bytes()));
    assert!(did.parse::<PublisherKey>().is_err());
}
