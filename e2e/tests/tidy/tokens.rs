//! Rules on Rust tokens, where strings and comments are not code: what is put off or switched off.
//! Must not need whole syntax: tokens inside macros count too.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::files::{File, Finding};

/// Lints of the workspace that no attribute may switch off.
const LINTS: &[&str] = &[
    "all",
    "unwrap_used",
    "panic",
    "todo",
    "unimplemented",
    "dbg_macro",
    "unsafe_code",
];

pub(crate) fn put_off(file: &File) -> Vec<Finding> {
    if !file.ends_with(&[".rs"]) {
        return Vec::new();
    }
    // A file that is no Rust is found by the rule on functions.
    let Ok(tokens) = file.text.parse::<TokenStream>() else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    walk(tokens, &mut |before, token| {
        let line = token.span().start().line;
        match token {
            TokenTree::Punct(mark) if mark.as_char() == '!' => {
                if let Some(TokenTree::Ident(name)) = before.last()
                    && ["todo", "unimplemented", "dbg"]
                        .iter()
                        .any(|forbidden| name == forbidden)
                {
                    findings.push(file.finding(line, format!("{name}! is not for code that stays")));
                }
            }
            TokenTree::Group(group) if is_attribute(before, group) => {
                if let Some(what) = forbidden_attribute(before, group) {
                    findings.push(file.finding(line, what));
                }
            }
            _ => {}
        }
    });
    findings
}

fn is_attribute(before: &[TokenTree], group: &Group) -> bool {
    let mark = |at: usize, wanted: char| {
        let token = before.len().checked_sub(at).and_then(|at| before.get(at));
        matches!(token, Some(TokenTree::Punct(found)) if found.as_char() == wanted)
    };
    group.delimiter() == Delimiter::Bracket && (mark(1, '#') || (mark(1, '!') && mark(2, '#')))
}

fn forbidden_attribute(before: &[TokenTree], group: &Group) -> Option<String> {
    let mut tokens = group.stream().into_iter();
    let TokenTree::Ident(name) = tokens.next()? else {
        return None;
    };
    if name == "ignore" {
        return Some("a test that is ignored proves nothing".into());
    }
    if name != "allow" && name != "expect" {
        return None;
    }
    let whole_file = matches!(before.last(), Some(TokenTree::Punct(mark)) if mark.as_char() == '!');
    if whole_file {
        return Some("a lint switched off for a whole module".into());
    }
    let TokenTree::Group(lints) = tokens.next()? else {
        return None;
    };
    let mut found = None;
    walk(lints.stream(), &mut |_, token| {
        if let TokenTree::Ident(lint) = token
            && LINTS.iter().any(|forbidden| lint == forbidden)
        {
            found = Some(format!("the lint {lint} switched off"));
        }
    });
    found
}

/// Calls with every token, and those before it in its group.
pub(crate) fn walk(tokens: TokenStream, visit: &mut impl FnMut(&[TokenTree], &TokenTree)) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        visit(&tokens[..at], token);
        if let TokenTree::Group(group) = token {
            walk(group.stream(), visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::found;

    #[test]
    fn what_is_put_off_is_found() {
        for (text, what) in [
            ("fn a() { todo!() }", "todo! is not for code that stays"),
            ("fn a() { vec![dbg!(1)]; }", "dbg! is not for code that stays"),
            (
                "#[test]\n#[ignore]\nfn a() {}",
                "a test that is ignored proves nothing",
            ),
            (
                "#[test]\n#[ignore = \"slow\"]\nfn a() {}",
                "a test that is ignored proves nothing",
            ),
            ("#![allow(dead_code)]", "a lint switched off for a whole module"),
            (
                "#[allow(clippy::unwrap_used)]\nfn a() {}",
                "the lint unwrap_used switched off",
            ),
            (
                "mod a { #[expect(unsafe_code, reason = \"x\")] fn b() {} }",
                "the lint unsafe_code switched off",
            ),
        ] {
            let found = found(put_off, "a.rs", text);
            assert!(found.len() == 1 && found[0].ends_with(what), "{text}: {found:?}");
        }
    }

    #[test]
    fn words_that_are_no_code_pass() {
        for text in [
            "// todo!()\n/// #[ignore]\nfn a() { let _ = \"todo!() #[ignore]\"; }",
            "#[allow(unreachable_pub, reason = \"x\")]\npub fn a() {}",
            "fn a(ignore: bool) -> bool { !ignore }",
            "fn a() { let all = [1]; let _ = all[0]; }",
        ] {
            assert!(found(put_off, "a.rs", text).is_empty(), "{text}");
        }
        assert!(found(put_off, "a.md", "todo!()").is_empty());
    }
}
