//! What locations are accepted and refused, and the laws of what was accepted.

use proptest::prelude::*;

use super::*;

const LOCAL: UrlRules = UrlRules { local: true, loopback_http: true, strip_password: false };

#[test]
fn accepted_locations_are_shown_as_git_takes_them() {
    for (text, shown) in [
        ("https://github.com/o/r.git", "https://github.com/o/r.git"),
        ("HTTPS://GitHub.com:443/o/r/", "https://github.com:443/o/r/"),
        ("https://user@dev.azure.com/o/r", "https://dev.azure.com/o/r"),
        ("https://[2001:DB8::1]:8443/r", "https://[2001:db8::1]:8443/r"),
        ("https://h:/r", "https://h/r"),
        ("ssh://git@host:2222/~me/r.git", "ssh://git@host:2222/~me/r.git"),
        ("git+ssh://git@host/r", "ssh://git@host/r"),
        ("git@github.com:o/r.git", "git@github.com:o/r.git"),
        ("my_alias:r", "my_alias:r"),
        ("me@[::1]:~x/r", "me@[::1]:~x/r"),
        ("/srv/git/r", "/srv/git/r"),
        ("/srv/a:b", "/srv/a:b"),
        ("file:///srv/a%20b", "file:///srv/a%20b"),
        ("http://127.0.0.1:80/r", "http://127.0.0.1:80/r"),
    ] {
        let url = RemoteUrl::parse(text, LOCAL).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(url.to_string(), shown);
        assert_eq!(RemoteUrl::parse(shown, LOCAL).as_ref(), Ok(&url));
    }
    let file = RemoteUrl::parse("file:///srv/a%20b", LOCAL).expect("it is accepted");
    assert_eq!(file.local_path().as_deref(), Some("/srv/a b"));
}

#[test]
fn everything_else_is_refused_with_its_reason() {
    for (text, reason) in [
        ("", "is empty"),
        ("-oProxyCommand=x", "location that begins with \"-\""),
        ("--upload-pack=x", "begins with \"-\""),
        ("ext::sh -c x", "remote helper \"ext\""),
        ("fd::7", "remote helper \"fd\""),
        ("https::https://h/x", "remote helper \"https\""),
        ("git://h/x", "scheme \"git\""),
        ("http://h/x", "scheme \"http\""),
        ("http://127.0.0.1.evil.org/x", "scheme \"http\""),
        ("ftp://h/x", "scheme \"ftp\""),
        ("javascript://h/x", "scheme"),
        ("https://u:p@h/x", "holds a password"),
        ("ssh://u:p@h/x", "holds a password"),
        ("u:p@h:x", "holds a password"),
        ("https:///x", "no valid host"),
        ("https://h..x/x", "no valid host"),
        ("https://h.example%00/x", "no valid host"),
        ("https://[::g]/x", "no valid host"),
        ("https://-h/x", "host that begins"),
        ("ssh://-oProxyCommand=x/x", "host that begins"),
        ("ssh://-l@h/x", "user that begins"),
        ("ssh://h/-x", "path that begins"),
        ("ssh://h/%2dx", "path that begins"),
        ("git@-h:x", "host that begins"),
        ("-u@h:x", "begins with"),
        ("git@h:-x", "path that begins"),
        ("git@h:", "no path"),
        ("https://h", "no path"),
        ("https://h//", "no path"),
        ("https://h/a/../b", "\"..\""),
        ("https://h/a/%2e%2e/b", "\"..\""),
        ("https://h/a%2fb", "encoded"),
        ("https://h/a%0ab", "control"),
        ("https://h/a%zz", "percent"),
        ("https://h/a%ff", "UTF-8"),
        ("https://h/a?b", "query"),
        ("https://h/a#b", "fragment"),
        ("https://h/a\\b", "backslash"),
        ("https://h/a b", "white space"),
        ("https://h/a\nb", "control"),
        ("https://h/a\r", "control"),
        ("https://h/\u{202e}b", "control"),
        ("https://h:0/x", "port"),
        ("https://h:65536/x", "port"),
        ("https://h:8a/x", "port"),
        ("file://host/x", "host"),
        ("repo", "relative path"),
        ("a/b", "relative path"),
        ("/a/../b", "\"..\""),
        ("../x", "relative path"),
    ] {
        let why = RemoteUrl::parse(text, LOCAL).expect_err(text).to_string();
        assert!(why.contains(reason), "{text:?}: {why}");
    }
    for text in ["/srv/x", "file:///srv/x", "http://127.0.0.1/x"] {
        assert!(RemoteUrl::parse(text, UrlRules::REMOTE).is_err(), "{text}");
    }
}

#[test]
fn no_refusal_repeats_a_secret() {
    for text in [
        "https://u:hunter2@h/x",
        "https://hunter2:x@-h",
        "u:hunter2@h:p",
        "ftp://u:hunter2@h/x",
        "ssh://hunter2:@h/x",
        "https://h/hunter2\n",
        "hunter2::x",
        "https://hunter2@h/x",
    ] {
        match RemoteUrl::parse(text, LOCAL) {
            Ok(url) => assert!(!format!("{url} {url:?}").contains("hunter2"), "{text}"),
            // A helper's name is no secret: it is what would have been run.
            Err(UrlRefused::Helper(_)) => {}
            Err(why) => assert!(!format!("{why} {why:?}").contains("hunter2"), "{text}: {why}"),
        }
    }
}

proptest! {
    #[test]
    fn parse_inverts_display(text in "(https|ssh|file|http|ext|git)?(://|::|:)?[-a-zA-Z0-9@:/.%~_\\[\\] ]{0,30}") {
        if let Ok(url) = RemoteUrl::parse(&text, LOCAL) {
            let again = RemoteUrl::parse(&url.to_string(), LOCAL);
            prop_assert_eq!(again, Ok(url));
        }
    }

    #[test]
    fn nothing_accepted_can_be_taken_for_an_option(text in "(https://|ssh://|file://|/)?[-a@:/.%2dDoO~\n\r\\[\\]]{0,24}") {
        if let Ok(url) = RemoteUrl::parse(&text, LOCAL) {
            let shown = url.to_string();
            prop_assert!(!shown.starts_with('-'));
            prop_assert!(!shown.chars().any(char::is_control));
            for part in url.endpoint().into_iter().flat_map(|end| {
                [Some(end.host()), end.user(), Some(end.path().trim_start_matches('/'))]
            }).flatten() {
                prop_assert!(!part.starts_with('-') && !decoded(part).is_ok_and(|part| part.starts_with('-')));
            }
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC*") {
        let _ = RemoteUrl::parse(&text, LOCAL);
        let _ = RepoIdentity::of_flake_url(&text);
        let _ = relative::resolve(&text, "../x", LOCAL);
        let _ = relative::resolve("https://h/a/b", &text, LOCAL);
    }
}
