/**
 * A real containerd for tests, in a network namespace and with everything that it keeps in one folder, and a client that drives it
 * over the CRI as kubelet does. Needs root, containerd, runc and busybox-static. This entry does not import vitest.
 *
 * @packageDocumentation
 */
export { type ContainerdBinaries, findContainerd, missingForPods } from './binaries.ts'
export { type CriCall, CriClient } from './client.ts'
export type { ContainerdPaths } from './config.ts'
export { Containerd, type ContainerdOptions } from './containerd.ts'
export { makeTestImage, TEST_IMAGE } from './image.ts'
export type { ContainerSpec, ExecSyncResult, PodSpec, PortMapping, RuntimeCondition, SandboxStatus } from './model.ts'
