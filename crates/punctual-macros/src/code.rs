//! The code that is written.
//!
//! It names what `__private` of the façade has, by its whole path, so that neither a renamed crate nor a shadowed `Result`
//! breaks it. Its own variables are hygienic, so that a default value, which is code of the user's, cannot see them.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Type};

use crate::expand::Expansion;
use crate::parameter::{Argument, IfAbsent, is_one_of};

/// A variable of our own.
pub(crate) fn hygienic(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// Where a type is written, for what the compiler says of it; names are looked up as everywhere in the code.
pub(crate) fn at(written: &impl Spanned) -> Span {
    Span::call_site().located_at(written.span())
}

impl Expansion<'_> {
    /// All of it.
    pub(crate) fn code(&self) -> TokenStream {
        let mut items = vec![
            self.structure(),
            self.constructor(),
            self.methods(),
            self.call_args(),
        ];
        items.extend(self.arguments_as_parameter());
        if self.is_local {
            items.extend(self.local_task());
        } else {
            items.push(self.task());
        }
        let cfgs = self.attributes(|name| name == "cfg");
        let item = |item: TokenStream| quote!(#(#cfgs)* #item);
        items.into_iter().map(item).collect()
    }

    /// Those attributes of the function whose name is one of these.
    fn attributes(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<&Attribute> {
        let name = |attribute: &Attribute| match attribute.path().get_ident() {
            Some(ident) => ident.to_string(),
            None => String::new(),
        };
        let all = self.task.function.attributes.iter();
        all.filter(|attribute| is_wanted(&name(attribute)))
            .collect()
    }

    /// The type: the arguments of a call.
    fn structure(&self) -> TokenStream {
        let (ident, vis) = (self.ident, &self.task.function.visibility);
        let docs = self.attributes(|name| name == "doc");
        let gap = (!docs.is_empty()).then(|| quote!(#[doc = ""]));
        let note = format!("A call of task `{}`: its arguments.", self.name);
        let fields = self.task.arguments().map(|argument| {
            let Argument { ident, ty, .. } = argument;
            if argument.is_required() {
                quote!(#ident: #ty)
            } else {
                quote!(#ident: ::core::option::Option<#ty>)
            }
        });
        quote! {
            #(#docs)*
            #gap
            #[doc = #note]
            #[must_use = "a call does nothing until it is added to a scheduler"]
            #[allow(non_camel_case_types)]
            #vis struct #ident { #(#fields,)* }
        }
    }

    /// The function that takes what a job must give.
    fn constructor(&self) -> TokenStream {
        let (ident, vis) = (self.ident, &self.task.function.visibility);
        let fn_token = &self.task.function.signature.fn_token;
        let attributes = self.attributes(|name| name == "doc" || name == "deprecated");
        let (mut inputs, mut fields) = (Vec::new(), Vec::new());
        for argument in self.task.arguments() {
            let name = &argument.ident;
            if argument.is_required() {
                let (ty, value) = given(&argument.ty, name);
                inputs.push(quote!(#name: #ty));
                fields.push(quote!(#name: #value));
            } else {
                fields.push(quote!(#name: ::core::option::Option::None));
            }
        }
        quote! {
            #(#attributes)*
            #[allow(dead_code, clippy::too_many_arguments)]
            #vis #fn_token #ident(#(#inputs),*) -> #ident {
                #ident { #(#fields,)* }
            }
        }
    }

    /// The function itself, and what sets the other arguments.
    fn methods(&self) -> TokenStream {
        let function = &self.task.function;
        let (ident, vis, body) = (self.ident, &function.visibility, &function.body);
        let attributes = self.attributes(|name| !["cfg", "doc", "deprecated"].contains(&name));
        let mut signature = function.signature.clone();
        signature.ident = Ident::new("call", ident.span());
        let setters = self.task.arguments().filter_map(|argument| {
            let name = &argument.ident;
            let (ty, value, otherwise) = match &argument.if_absent {
                IfAbsent::Required => return None,
                IfAbsent::None { inner } => {
                    let (ty, value) = given(inner, name);
                    let value = quote!(::core::option::Option::Some(#value));
                    (ty, value, "None".to_owned())
                }
                IfAbsent::Value(default) => {
                    let (ty, value) = given(&argument.ty, name);
                    (ty, value, default.to_token_stream().to_string())
                }
            };
            let doc = format!("Gives `{name}`, which is `{otherwise}` unless given.");
            Some(quote! {
                #[doc = #doc]
                #[allow(dead_code)]
                #vis fn #name(mut self, #name: #ty) -> Self {
                    self.#name = ::core::option::Option::Some(#value);
                    self
                }
            })
        });
        quote! {
            impl #ident {
                /// The function itself, without a scheduler: for tests.
                #[allow(dead_code, clippy::missing_errors_doc, clippy::missing_panics_doc)]
                // `async` says where a task runs, what it takes is its own, and a value is a result's.
                #[allow(clippy::unused_async, clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
                #(#attributes)*
                #vis #signature #body

                #(#setters)*
            }
        }
    }

    /// How a call is read and written.
    fn call_args(&self) -> TokenStream {
        let Self {
            private,
            ident,
            name,
            ..
        } = self;
        let (mut specs, mut reads, mut writes) = (Vec::new(), Vec::new(), Vec::new());
        for argument in self.task.arguments() {
            let Argument { ident, ty, .. } = argument;
            let name = argument.name();
            // Bare paths, and twice the same: the compiler then says once that a type is no argument.
            let read = quote_spanned!(at(ty)=> <#ty as #private::Argument>::read);
            let write = quote_spanned!(at(ty)=> <#ty as #private::Argument>::write);
            let insert = quote!(kwargs.insert(::core::convert::From::from(#name), #write(value)?););
            let (kind, write) = if argument.is_required() {
                (
                    quote!(required),
                    quote!({ let value = &self.#ident; #insert }),
                )
            } else {
                let given = quote!(let ::core::option::Option::Some(value) = &self.#ident);
                (quote!(optional), quote!(if #given { #insert }))
            };
            specs.push(quote!(#private::ArgumentSpec::#kind(#name)));
            reads.push(quote!(#ident: bound.#kind(#name, #read)?));
            writes.push(write);
        }
        quote! {
            impl #private::CallArgs for #ident {
                const TASK: &'static ::core::primitive::str = #name;
                const TAKES: &'static [#private::ArgumentSpec] = &[#(#specs),*];

                #[allow(unused_variables)]
                fn read(bound: &#private::BoundArgs<'_>) -> ::core::result::Result<Self, #private::ArgsError> {
                    ::core::result::Result::Ok(Self { #(#reads,)* })
                }

                #[allow(unused_mut)]
                fn write(&self) -> ::core::result::Result<#private::Object, #private::serde_json::Error> {
                    let mut kwargs = #private::Object::new();
                    #(#writes)*
                    ::core::result::Result::Ok(kwargs)
                }
            }
        }
    }

    /// A call as the first parameter of what is registered, and as data.
    fn arguments_as_parameter(&self) -> [TokenStream; 4] {
        let Self { private, ident, .. } = self;
        let parameter = quote! {
            impl #private::Parameter for #ident {
                const TAKES_ARGUMENTS: bool = true;

                fn make(input: &#private::TaskInput) -> ::core::result::Result<Self, #private::ArgsError> {
                    #private::make(input)
                }

                fn check(args: &#private::JobArgs) -> ::core::result::Result<(), #private::ArgsError> {
                    #private::check::<Self>(args)
                }
            }
        };
        let serialize = quote! {
            impl #private::serde::Serialize for #ident {
                fn serialize<S: #private::serde::Serializer>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error> {
                    #private::serialize(self, serializer)
                }
            }
        };
        let deserialize = quote! {
            impl<'de> #private::serde::Deserialize<'de> for #ident {
                fn deserialize<D: #private::serde::Deserializer<'de>>(deserializer: D) -> ::core::result::Result<Self, D::Error> {
                    #private::deserialize(deserializer)
                }
            }
        };
        let debug = quote! {
            impl ::core::fmt::Debug for #ident {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    #private::debug(self, f)
                }
            }
        };
        [parameter, serialize, deserialize, debug]
    }
}

/// What a caller gives for a value of a type, and the value: text for a `String`, also a value for an `Option`.
fn given(ty: &Type, name: &Ident) -> (TokenStream, TokenStream) {
    if is_one_of(ty, &["String", "Option"]) {
        let value = quote!(::core::convert::Into::into(#name));
        (quote!(impl ::core::convert::Into<#ty>), value)
    } else {
        (ty.to_token_stream(), name.to_token_stream())
    }
}
