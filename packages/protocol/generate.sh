#!/bin/sh
# Regenerates src/gen from proto. Works offline: the only plugin is the workspace's own protoc-gen-ts_proto.
set -eu
cd "$(dirname "$0")"
bin=../../node_modules/.bin
PATH="$PWD/$bin:$PATH"
export PATH
"$bin/buf" lint
"$bin/buf" generate
# Server reflection needs the descriptors; as a module they survive bundling, which a .proto beside the code does not.
{
  echo '/** The file descriptor set of `offload.v1`, base64. Generated; do not edit. */'
  printf "export const DESCRIPTOR_SET: string =\n  '%s'\n" "$("$bin/buf" build --path proto/offload --as-file-descriptor-set --exclude-source-info -o -#format=binpb | base64 -w0)"
} > src/gen/descriptor.ts
