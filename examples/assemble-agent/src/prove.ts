import assert from 'node:assert/strict'
import { softHost } from '@cni-offload/hw-soft'
import { createOffloadClient, type AttachCall, type AttachReply, type OffloadClient, type TlsFiles } from '@cni-offload/protocol'
import { silentLogger, systemClock, type VirtualFunction } from '@cni-offload/sdk'
import { type FakePod, fakePod, reaches, wirePod } from '@cni-offload/testing'
import type { Stage } from './stage.ts'

const context = (): { readonly signal: AbortSignal } => ({ signal: AbortSignal.timeout(10_000) })

const callFor = (pod: FakePod, vf: VirtualFunction): AttachCall => ({
  key: pod.key('podnet'),
  pod: pod.identity,
  vf: vf.id,
  vfMac: vf.mac,
  netconf: { cniVersion: '1.1.0', name: 'podnet', type: 'offload-cni' },
  runtimeConfig: {},
  cniArgs: {},
  flags: { ipsec: false },
})

/** Does what a host daemon does for one pod: the function into the pod, the attachment on the DPU, the result applied. */
async function attach(stage: Stage, client: OffloadClient, pod: FakePod, vf: VirtualFunction): Promise<AttachReply> {
  assert(vf.netdev !== undefined, `VF ${vf.id.index} is not in the host's namespace`)
  await stage.net.apply(stage.hostNetns, [{ op: 'link.move', dev: vf.netdev, netns: pod.path, name: 'eth0' }])
  const reply = await client.attach(callFor(pod, vf), context())
  await wirePod(stage.net, pod.path, 'eth0', reply.result)
  return reply
}

/** Plays the host against a running agent. @throws AssertionError that says what is not as it should be */
export async function prove(stage: Stage, address: string, tls: TlsFiles): Promise<void> {
  await using cleanup = new AsyncDisposableStack()
  const client = cleanup.use(createOffloadClient({ address, tls, node: 'node-1' }))
  const card = await softHost({ device: stage.device, vfs: 2, netns: stage.hostNetns, dpuNetns: stage.dpuNetns }).create({
    log: silentLogger,
    clock: systemClock,
    stateDir: '',
  })
  cleanup.defer(async () => card[Symbol.asyncDispose]?.())
  const op = { signal: AbortSignal.timeout(60_000), log: silentLogger }
  const [vf0, vf1] = await card.discover(op)
  assert(vf0 !== undefined && vf1 !== undefined, 'the card has two functions')

  const handshake = await client.handshake({ protocol: { min: 1, max: 1 }, node: 'node-1', bootId: 'example', features: [] }, context())
  console.log(`agent at ${address}, protocol ${handshake.protocol}, networks ${handshake.networks.join(', ')}`)

  const pods = [
    cleanup.use(await fakePod({ net: stage.net, name: 'a' })),
    cleanup.use(await fakePod({ net: stage.net, name: 'b' })),
  ] as const
  const [a, b] = [await attach(stage, client, pods[0], vf0), await attach(stage, client, pods[1], vf1)]
  for (const { result, port } of [a, b]) {
    console.log(`${port}: ${result.mac}, ${result.ips.map((ip) => ip.address).join(', ')}`)
    assert.equal(result.ips.length, 2, 'one address of each family')
  }
  assert.equal(new Set([...a.result.ips, ...b.result.ips].map((ip) => ip.address)).size, 4, 'no address twice')
  assert.deepEqual(await client.attach(callFor(pods[0], vf0), context()), a, 'a repeated attach gives the same')

  for (const { address: target } of b.result.ips) {
    const ip = target.replace(/\/.*/, '')
    assert(await reaches(pods[0].path, ip), `pod a does not reach pod b at ${ip}`)
    console.log(`pod a reaches pod b at ${ip}`)
  }
  await client.check({ key: pods[0].key('podnet'), expected: a.result }, context())

  for (const [pod, vf] of [
    [pods[0], vf0],
    [pods[1], vf1],
  ] as const) {
    await card.release(vf.id, { netns: pod.path, ifName: 'eth0' }, op)
    await client.detach({ key: pod.key('podnet') }, context())
  }
  assert.deepEqual(await client.list(context()), [], 'nothing is left')
  assert(
    !(await reaches(pods[0].path, b.result.ips[0]?.address.replace(/\/.*/, '') ?? '', { withinSeconds: 1 })),
    'a detached pod has no network',
  )
}
