import assert from 'node:assert/strict'
import type { Link, NetnsPath } from '@cni-offload/linux'
import { formatVfId, systemClock } from '@cni-offload/sdk'
import type { ComplianceCase } from '../../kit/case.ts'
import { freshContext } from '../../kit/expect.ts'
import type { HardwareFixture } from '../fixture.ts'
import { vfAt } from '../helpers.ts'

/** Frames sent per probe: well above what a device sends by itself in that time. */
const FRAMES = 24

/** How long a frame may be on its way, in milliseconds. */
const DELIVERED_WITHIN_MS = 5_000

const LOOK_EVERY_MS = 2

interface Wire {
  readonly id: string
  readonly vf: string
  readonly port: string
}

/** All functions and ports up and silent, with frames going nowhere unless they are sent. */
async function bringUp(fixture: HardwareFixture): Promise<Wire[]> {
  const wires: Wire[] = []
  for (const id of fixture.vfs) {
    const { name: vf } = await fixture.host.acquire(id, {}, freshContext())
    const { name: port } = await fixture.dpu.port(id, freshContext())
    wires.push({ id: formatVfId(id), vf, port })
  }
  for (const [netns, end] of [
    [fixture.hostNetns, 'vf'],
    [fixture.dpuNetns, 'port'],
  ] as const)
    for (const wire of wires)
      await fixture.net.apply(netns, [
        { op: 'sysctl', key: `net.ipv6.conf.${wire[end].replaceAll('.', '/')}.disable_ipv6`, value: '1' },
        { op: 'link.set', dev: wire[end], up: true },
      ])
  return wires
}

async function received(fixture: HardwareFixture, netns: NetnsPath, names: readonly string[]): Promise<number[]> {
  const links = new Map((await fixture.net.links(netns)).map((link): [string, Link] => [link.name, link]))
  return names.map((name) => Number(links.get(name)?.stats.rxPackets ?? 0n))
}

/** Sends from one end and asserts that exactly the end it belongs to receives. */
async function assertWired(
  fixture: HardwareFixture,
  from: { readonly netns: NetnsPath; readonly dev: string },
  to: { readonly netns: NetnsPath; readonly devs: readonly string[]; readonly expected: number },
): Promise<void> {
  const before = await received(fixture, to.netns, to.devs)
  const addresses = Array.from({ length: FRAMES }, (_, n) => `192.0.2.${n + 1}`)
  const until = systemClock.monotonic() + DELIVERED_WITHIN_MS
  let got: boolean[]
  do {
    // A link that has just come up may lose frames, a card delivers in its own time, and counters have no event.
    await fixture.net.apply(from.netns, [{ op: 'announce', dev: from.dev, addresses }])
    await systemClock.sleep(LOOK_EVERY_MS, AbortSignal.timeout(DELIVERED_WITHIN_MS))
    const after = await received(fixture, to.netns, to.devs)
    got = after.map((count, index) => count - (before[index] ?? 0) >= FRAMES)
  } while (!got.includes(true) && systemClock.monotonic() < until)
  assert.deepEqual(
    to.devs.filter((_, index) => got[index]),
    [vfAt(to.devs, to.expected)],
    `what receives frames that "${from.dev}" sends`,
  )
}

/** The map between functions and ports. */
export const portCases: readonly ComplianceCase<HardwareFixture>[] = [
  {
    id: 'ports.bijection',
    title: 'every function has one port of its own, every port belongs to one function, and all of them exist',
    async run(fixture) {
      const ports = await fixture.dpu.ports(freshContext())
      assert.deepEqual(
        ports.map(({ vf }) => formatVfId(vf)).toSorted(),
        fixture.vfs.map(formatVfId).toSorted(),
        'functions that ports() lists',
      )
      assert.equal(new Set(ports.map(({ name }) => name)).size, ports.length, 'no two functions have the same port')
      for (const id of fixture.vfs) {
        const port = await fixture.dpu.port(id, freshContext())
        assert.deepEqual(
          port,
          ports.find(({ vf }) => formatVfId(vf) === formatVfId(id)),
          `port() and ports() agree about ${formatVfId(id)}`,
        )
        assert.ok((await fixture.net.link(fixture.dpuNetns, port.name)) !== undefined, `port "${port.name}" of ${formatVfId(id)} exists`)
      }
    },
  },
  {
    id: 'ports.to-dpu',
    title: 'what is sent into a function comes out of its port and of no other',
    async run(fixture) {
      const wires = await bringUp(fixture)
      const devs = wires.map(({ port }) => port)
      for (const [index, wire] of wires.entries())
        await assertWired(fixture, { netns: fixture.hostNetns, dev: wire.vf }, { netns: fixture.dpuNetns, devs, expected: index })
    },
  },
  {
    id: 'ports.to-host',
    title: 'what is sent into a port comes out of its function and of no other',
    async run(fixture) {
      const wires = await bringUp(fixture)
      const devs = wires.map(({ vf }) => vf)
      for (const [index, wire] of wires.entries())
        await assertWired(fixture, { netns: fixture.dpuNetns, dev: wire.port }, { netns: fixture.hostNetns, devs, expected: index })
    },
  },
]
