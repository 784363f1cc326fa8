//! Telling a document that a newer program wrote from one that is damaged.
//!
//! Every document states its version as `v`. What a newer version may say cannot be known here, so
//! nothing is decided by it and nothing is written beside it.

/// The version of a document, where it is above the newest that this program knows; `None` for any
/// other, and for what is no document.
#[must_use]
pub fn newer(document: &[u8], known: u32) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_slice(document).ok()?;
    value.get("v")?.as_u64().filter(|version| *version > u64::from(known))
}

#[cfg(test)]
mod tests {
    use super::newer;

    #[test]
    fn only_a_higher_version_is_newer() {
        for (document, expected) in [
            ("{\"v\":3,\"strange\":{}}", Some(3)),
            ("{\"v\":2}", None),
            ("{\"v\":\"3\"}", None),
            ("{\"w\":3}", None),
            ("[3]", None),
            ("rubbish", None),
        ] {
            assert_eq!(newer(document.as_bytes(), 2), expected, "{document}");
        }
    }
}
