import { randomUUID } from 'node:crypto'
import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import type { AttachmentKey, PodIdentity } from '@cni-offload/sdk'
import { TestNetns } from './test-netns.ts'

/** What a container runtime makes for a pod before it calls CNI: a sandbox with an id and an empty network namespace. */
export interface FakePod extends AsyncDisposable {
  /** Network namespace of the sandbox. */
  readonly netns: TestNetns
  /** Path of {@link FakePod.netns}. */
  readonly path: NetnsPath
  /** Sandbox id, 64 hexadecimal digits. */
  readonly containerId: string
  /** Kubernetes identity. */
  readonly identity: PodIdentity
  /** Key of an attachment of this pod. `ifName` is `eth0` by default. */
  key(network: string, ifName?: string): AttachmentKey
}

/** Makes a pod's sandbox. */
export async function fakePod(options: { readonly net: LinuxNet; readonly name: string; readonly namespace?: string }): Promise<FakePod> {
  const netns = await TestNetns.create(options.net, 'pod')
  const uid = randomUUID()
  const containerId = `${uid}${randomUUID()}`.replaceAll('-', '')
  return {
    netns,
    path: netns.path,
    containerId,
    identity: { namespace: options.namespace ?? 'default', name: options.name, uid },
    key: (network, ifName = 'eth0') => ({ network, containerId, ifName }),
    [Symbol.asyncDispose]: () => netns[Symbol.asyncDispose](),
  }
}
