//! The length of functions, from the first line of the signature to the closing brace.
//! Must not count comments and attributes before a function.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::files::{File, Finding};

const LINES_LIMIT: usize = 70;

pub(crate) fn too_long(file: &File) -> Vec<Finding> {
    let lengths = match file.path.rsplit('.').next() {
        Some("rs") => match rust_functions(&file.text) {
            Ok(functions) => functions,
            Err(error) => return vec![file.finding(error.span().start().line, error.to_string())],
        },
        Some("go") => go_functions(&file.text),
        _ => return Vec::new(),
    };
    let long = lengths
        .into_iter()
        .filter(|function| function.lines > LINES_LIMIT);
    long.map(|function| {
        let what = format!(
            "{} has {} lines, the limit is {LINES_LIMIT}",
            function.name, function.lines
        );
        file.finding(function.begins, what)
    })
    .collect()
}

struct Function {
    name: String,
    begins: usize,
    lines: usize,
}

#[derive(Default)]
struct Functions(Vec<Function>);

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let begins = signature.span().start().line;
        let lines = block.span().end().line - begins + 1;
        self.0.push(Function {
            name: signature.ident.to_string(),
            begins,
            lines,
        });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn rust_functions(text: &str) -> syn::Result<Vec<Function>> {
    let mut functions = Functions::default();
    functions.visit_file(&syn::parse_file(text)?);
    Ok(functions.0)
}

/// gofmt puts `func` and the closing brace at the beginning of a line, and nothing else between.
fn go_functions(text: &str) -> Vec<Function> {
    let mut functions: Vec<Function> = Vec::new();
    let mut is_open = false;
    for (at, line) in text.lines().enumerate() {
        if line.starts_with("func ") {
            functions.push(Function {
                name: line.trim_end_matches(" {").into(),
                begins: at + 1,
                lines: 1,
            });
            is_open = !line.ends_with('}');
        } else if is_open && let Some(function) = functions.last_mut() {
            function.lines += 1;
            is_open = line != "}";
        }
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::found;

    fn body(lines: usize) -> String {
        "    let _ = 1;\n".repeat(lines - 2)
    }

    #[test]
    fn long_rust_functions_are_found() {
        let plain = |lines| format!("/// Doc.\n#[inline]\nfn a() {{\n{}}}\n", body(lines));
        assert_eq!(
            found(too_long, "a.rs", &plain(71)),
            ["a.rs:3: a has 71 lines, the limit is 70"]
        );
        assert!(found(too_long, "a.rs", &plain(70)).is_empty());
        let in_impl = format!("struct A;\nimpl A {{\n    fn b(&self) {{\n{}}}\n}}\n", body(71));
        assert_eq!(found(too_long, "a.rs", &in_impl).len(), 1);
        let in_trait = format!(
            "trait A {{\n    fn c(&self) {{\n{}}}\n    fn d();\n}}\n",
            body(71)
        );
        assert_eq!(found(too_long, "a.rs", &in_trait).len(), 1);
        let inside = format!(
            "mod a {{\n    fn outer() {{\n        fn inner() {{\n{}}}\n}}\n}}\n",
            body(71)
        );
        assert_eq!(found(too_long, "a.rs", &inside).len(), 2);
        assert_eq!(found(too_long, "a.rs", "fn a( {\n").len(), 1);
    }

    #[test]
    fn long_go_functions_are_found() {
        let go = |lines: usize| {
            format!(
                "package a\n\nfunc a() int {{ return 1 }}\n\nfunc (b *B) c() {{\n{}}}\n\nvar x = 1\n",
                "\tx()\n".repeat(lines - 2)
            )
        };
        assert_eq!(
            found(too_long, "a.go", &go(71)),
            ["a.go:5: func (b *B) c() has 71 lines, the limit is 70"]
        );
        assert!(found(too_long, "a.go", &go(70)).is_empty());
    }
}
