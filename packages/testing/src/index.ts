/**
 * Network namespaces, pods, traffic and leak checks for tests, labs and benchmarks. This entry does not import vitest; the
 * compliance kits, which do, are at `@cni-offload/testing/adapter` and `@cni-offload/testing/hardware`.
 *
 * @packageDocumentation
 */
export * from './fake-crypto-engine.ts'
export * from './net/datagram-rate.ts'
export * from './net/exec.ts'
export * from './net/fake-pod.ts'
export * from './net/leaks.ts'
export * from './net/ping-stream.ts'
export * from './net/ping.ts'
export * from './net/port-bench.ts'
export * from './net/tcp-probe.ts'
export * from './net/tcp-transfer.ts'
export * from './net/test-netns.ts'
export * from './net/wire-pod.ts'
export * from './root.ts'
export * from './unique-name.ts'
