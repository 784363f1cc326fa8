//! URLs as Nix reads and writes them: RFC 3986, with its leniencies, re-encoded its own way.
//!
//! Source: `libutil/url.cc` (`parseURL` with `lenient`, `ParsedURL::to_string`) over Boost.URL.
//! Everything is bytes: what a URL encodes need not be text. Writing encodes all but unreserved
//! characters, and `:` and `@` in paths, and `:`, `@`, `/`, `?` in queries: so `a+b` becomes
//! `a%2Bb`, and Nix's lock files have it so.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv6Addr;

/// A URL in its parts, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Uri {
    pub(super) scheme: String,
    /// As it is written back.
    pub(super) authority: Option<Authority>,
    /// What stands between the slashes: `/a` is `["", "a"]`.
    pub(super) path: Vec<Vec<u8>>,
    pub(super) query: BTreeMap<String, Vec<u8>>,
    pub(super) fragment: Vec<u8>,
}

/// `user:password@host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority {
    user: Option<(Vec<u8>, Option<Vec<u8>>)>,
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Name(Vec<u8>),
    /// In brackets.
    V6(String),
}

/// Why text is no URL.
pub(super) type Bad = &'static str;

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn sub_delim(byte: u8) -> bool {
    b"!$&'()*+,;=".contains(&byte)
}

fn pchar(byte: u8) -> bool {
    unreserved(byte) || sub_delim(byte) || b":@".contains(&byte)
}

/// Decode `%XX`; every other byte must be `allowed`.
fn decoded(text: &[u8], allowed: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'%' {
            let (digits, tail) = rest.split_at_checked(2)?;
            rest = tail;
            bytes.extend(data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok()?);
        } else if allowed(*first) {
            bytes.push(*first);
        } else {
            return None;
        }
    }
    Some(bytes)
}

pub(super) fn encoded(bytes: &[u8], keep: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if unreserved(*byte) || keep.contains(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// The scheme of text that starts like a URL.
pub(super) fn scheme_of(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let mut bytes = scheme.bytes();
    let valid = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    valid.then_some(scheme)
}

/// `key=value` pairs: the first of a key counts, and what has no `=` does not.
pub(super) fn query(text: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, Bad> {
    let mut pairs = BTreeMap::new();
    let allowed = |byte| pchar(byte) || b"/?[] \"".contains(&byte);
    for pair in text.split(|byte| *byte == b'&') {
        let decode = |part| decoded(part, allowed).ok_or("has a malformed query");
        let Some(equals) = pair.iter().position(|byte| *byte == b'=') else {
            decode(pair)?;
            continue;
        };
        let (key, value) = (decode(&pair[..equals])?, decode(&pair[equals + 1..])?);
        let key = String::from_utf8(key).map_err(|_| "has a query that is not text")?;
        pairs.entry(key).or_insert(value);
    }
    Ok(pairs)
}

pub(super) fn fragment(text: &[u8]) -> Result<Vec<u8>, Bad> {
    decoded(text, |byte| pchar(byte) || b"/? \"^".contains(&byte)).ok_or("has a malformed fragment")
}

impl Uri {
    pub(super) fn parse(text: &str) -> Result<Self, Bad> {
        let scheme = scheme_of(text).ok_or("has no scheme")?;
        let rest = &text.as_bytes()[scheme.len() + 1..];
        let (rest, fragment) = match rest.iter().position(|byte| *byte == b'#') {
            Some(at) => (&rest[..at], self::fragment(&rest[at + 1..])?),
            None => (rest, Vec::new()),
        };
        let (rest, query) = match rest.iter().position(|byte| *byte == b'?') {
            Some(at) => (&rest[..at], self::query(&rest[at + 1..])?),
            None => (rest, BTreeMap::new()),
        };
        let (authority, mut path) = match rest.strip_prefix(b"//") {
            Some(rest) => {
                let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
                (Some(Authority::parse(&rest[..end])?), &rest[end..])
            }
            None => (None, rest),
        };
        if scheme.rsplit('+').next() == Some("file") {
            if authority.as_ref().is_some_and(|authority| authority.host != Host::Name(Vec::new())) {
                return Err("is a file URL with a host");
            }
            if path.is_empty() {
                path = b"/";
            }
        }
        let path = path
            .split(|byte| *byte == b'/')
            .map(|segment| decoded(segment, pchar).ok_or("has a character in its path that must be encoded"))
            .collect::<Result<_, _>>()?;
        Ok(Self { scheme: scheme.to_owned(), authority, path, query, fragment })
    }

    /// The part of the scheme before `+`, and the part after it.
    pub(super) fn schemes(&self) -> (Option<&str>, &str) {
        match self.scheme.split_once('+') {
            Some((application, transport)) => (Some(application), transport),
            None => (None, &self.scheme),
        }
    }

    /// Segments of the path that are not empty, as text.
    pub(super) fn segments(&self) -> Result<Vec<String>, Bad> {
        let texts = self.path.iter().filter(|segment| !segment.is_empty()).map(|segment| text(segment));
        texts.collect()
    }

    pub(super) fn show(&self) -> String {
        let mut shown = format!("{}:", self.scheme);
        if let Some(authority) = &self.authority {
            shown.push_str("//");
            authority.show(&mut shown);
        }
        let segments: Vec<String> = self.path.iter().map(|segment| encoded(segment, b":@")).collect();
        shown.push_str(&segments.join("/"));
        for (at, (key, value)) in self.query.iter().enumerate() {
            shown.push(if at == 0 { '?' } else { '&' });
            shown.push_str(&encoded(key.as_bytes(), b":@/?"));
            shown.push('=');
            shown.push_str(&encoded(value, b":@/?"));
        }
        if !self.fragment.is_empty() {
            shown.push('#');
            shown.push_str(&encoded(&self.fragment, b""));
        }
        shown
    }
}

impl Authority {
    fn parse(text: &[u8]) -> Result<Self, Bad> {
        let bad = "has a malformed host";
        let (user, place) = match text.iter().position(|byte| *byte == b'@') {
            Some(at) => {
                let (name, password) = match text[..at].iter().position(|byte| *byte == b':') {
                    Some(colon) => (&text[..colon], Some(&text[colon + 1..at])),
                    None => (&text[..at], None),
                };
                let decode = |part| {
                    decoded(part, |byte| unreserved(byte) || sub_delim(byte) || byte == b':').ok_or(bad)
                };
                (Some((decode(name)?, password.map(decode).transpose()?)), &text[at + 1..])
            }
            None => (None, text),
        };
        let (host, port) = if let Some(inside) = place.strip_prefix(b"[") {
            let end = inside.iter().position(|byte| *byte == b']').ok_or(bad)?;
            let address = std::str::from_utf8(&inside[..end]).map_err(|_| bad)?;
            if !is_future(address) {
                address.parse::<Ipv6Addr>().map_err(|_| bad)?;
            }
            let port = match &inside[end + 1..] {
                [] => None,
                [b':', port @ ..] => Some(port),
                _ => return Err(bad),
            };
            (Host::V6(address.to_owned()), port)
        } else {
            let (host, port) = match place.iter().position(|byte| *byte == b':') {
                Some(colon) => (&place[..colon], Some(&place[colon + 1..])),
                None => (place, None),
            };
            let name = decoded(host, |byte| unreserved(byte) || sub_delim(byte)).ok_or(bad)?;
            (Host::Name(name), port)
        };
        let port = match port.filter(|port| !port.is_empty()) {
            Some(port) if port.iter().all(u8::is_ascii_digit) => {
                let number = std::str::from_utf8(port).ok().and_then(|port| port.parse().ok());
                Some(number.filter(|port| *port != 0).ok_or("has an impossible port")?)
            }
            Some(_) => return Err("has a malformed port"),
            None => None,
        };
        Ok(Self { user, host, port })
    }

    pub(super) fn is_local(&self) -> bool {
        self.host == Host::Name(Vec::new())
    }

    /// Of this machine.
    pub(super) fn local() -> Self {
        Self { user: None, host: Host::Name(Vec::new()), port: None }
    }

    fn show(&self, shown: &mut String) {
        if let Some((user, password)) = &self.user {
            shown.push_str(&encoded(user, b""));
            if let Some(password) = password {
                shown.push(':');
                shown.push_str(&encoded(password, b""));
            }
            shown.push('@');
        }
        match &self.host {
            Host::Name(name) => shown.push_str(&encoded(name, b"")),
            Host::V6(address) => {
                let _ = write!(shown, "[{address}]");
            }
        }
        if let Some(port) = self.port {
            let _ = write!(shown, ":{port}");
        }
    }
}

/// `IPvFuture` of RFC 3986: `v1.x`.
fn is_future(address: &str) -> bool {
    let version = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let rest = |byte: u8| unreserved(byte) || sub_delim(byte) || byte == b':';
    address
        .strip_prefix(['v', 'V'])
        .and_then(|text| text.split_once('.'))
        .is_some_and(|(number, text)| version(number) && !text.is_empty() && text.bytes().all(rest))
}

pub(super) fn text(bytes: &[u8]) -> Result<String, Bad> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "encodes bytes that are not UTF-8 text")
}
