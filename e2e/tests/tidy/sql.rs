//! SQL text stands in operator/sql and nowhere else in the operator.
//! Must not look at the proving ground: it speaks to servers in its own way.

use std::sync::LazyLock;

use proc_macro2::{TokenStream, TokenTree};
use regex::Regex;

use crate::files::{File, Finding};
use crate::tokens::walk;

/// The beginnings of statements. English begins sentences with some of the same words, so the word
/// after the verb counts too.
static STATEMENT: LazyLock<Regex> = LazyLock::new(|| {
    let statements = [
        r"SELECT\s",
        r"(?i:select\s+(@@|\*|\w+\(|.+\sfrom\s))",
        r"(?i:insert\s+(ignore\s+)?into\s)",
        r"(?i:replace\s+into\s)",
        r"(?i:update\s+\S+\s+set\s)",
        r"(?i:delete\s+from\s)",
        r"(?i:truncate\s+table\s)",
        r"(?i:(create|alter|drop|rename)\s+(table|user|database|schema|role|event|function|procedure|instance|server)\s)",
        r"(?i:show\s+(replicas?|binary|binlog|variables|status|global|session|processlist|databases|grants|engine|plugins|warnings)\b)",
        r"(?i:set\s+(global|session|persist|persist_only|password|role|@)\b)",
        r"SET\s",
        r"(?i:(start|stop|reset)\s+(replica|slave|group_replication|binary|transaction)\b)",
        r"(?i:change\s+(replication|master)\b)",
        r"(?i:(grant|revoke)\s.+\s(on|to|from)\s)",
        r"(?i:flush\s+(logs|tables|privileges|binary|relay|status)\b)",
        r"(?i:purge\s+binary\b)",
        r"KILL\s",
        r"(?i:clone\s+(instance|local)\b)",
        r"(?i:(install|uninstall)\s+(plugin|component)\s)",
        r"(?i:(lock|unlock)\s+(instance|tables)\b)",
        r"(?i:xa\s+(begin|start|end|prepare|commit|rollback|recover)\b)",
        r"(BEGIN|COMMIT|ROLLBACK|SHUTDOWN|RESTART)\s*;?\s*$",
    ];
    Regex::new(&format!(r"^\s*({})", statements.join("|"))).unwrap()
});

pub(crate) fn misplaced(file: &File) -> Vec<Finding> {
    let is_ours = file.path.starts_with("operator/") && !file.path.starts_with("operator/sql/");
    if !is_ours || !file.ends_with(&[".rs"]) {
        return Vec::new();
    }
    let Ok(tokens) = file.text.parse::<TokenStream>() else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    walk(tokens, &mut |before, token| {
        let TokenTree::Literal(literal) = token else {
            return;
        };
        // A doc comment is a literal behind `doc =`.
        let is_doc = matches!(before, [TokenTree::Ident(name), TokenTree::Punct(_)] if name == "doc");
        let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) else {
            return;
        };
        if !is_doc && STATEMENT.is_match(&text.value()) {
            findings.push(file.finding(literal.span().start().line, "SQL outside operator/sql"));
        }
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::found;

    #[test]
    fn statements_are_found() {
        for statement in [
            "SELECT 1",
            "select @@gtid_executed",
            "\\n  select id from t where a = 1",
            "INSERT INTO t VALUES (1)",
            "update mysql.user set x = 1",
            "SHOW REPLICA STATUS",
            "set global super_read_only = 1",
            "SET @@sql_log_bin = 0",
            "STOP REPLICA IO_THREAD",
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'a'",
            "GRANT SELECT ON *.* TO a",
            "CREATE USER a",
            "KILL 5",
            "commit_not but: COMMIT",
        ] {
            let text = format!("fn a() {{ query(&format!(\"{statement}\")); }}");
            let expected = usize::from(!statement.starts_with("commit_not"));
            assert_eq!(
                found(misplaced, "operator/src/a.rs", &text).len(),
                expected,
                "{statement}"
            );
        }
        let raw = "const A: &str = r#\"SELECT \"x\"\"#;";
        assert_eq!(
            found(misplaced, "operator/kit/src/a.rs", raw),
            ["operator/kit/src/a.rs:1: SQL outside operator/sql"]
        );
    }

    #[test]
    fn english_comments_and_other_crates_pass() {
        for text in [
            "/// SELECT 1\nfn a() { f(\"select one of these\"); }",
            "fn a() { f(\"Set the deadline\"); f(\"failed to show replicas\"); f(\"update it\"); }",
            "fn a() { f(\"start again\"); f(\"kill -9\"); f('a'); f(b\"SELECT 1\"); }",
        ] {
            assert!(found(misplaced, "operator/src/a.rs", text).is_empty(), "{text}");
        }
        let statement = "const A: &str = \"SELECT 1\";";
        assert!(found(misplaced, "operator/sql/src/a.rs", statement).is_empty());
        assert!(found(misplaced, "e2e/src/a.rs", statement).is_empty());
    }
}
