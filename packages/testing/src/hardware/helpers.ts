import assert from 'node:assert/strict'
import type { Link, LinkTraits, NetnsPath } from '@cni-offload/linux'
import { formatVfId, type NetdevRef, type VfId, type VfSettings, type VirtualFunction } from '@cni-offload/sdk'
import { freshContext } from '../kit/expect.ts'
import { exec, inNetns } from '../net/exec.ts'
import type { HardwareFixture } from './fixture.ts'

/** A free function as `discover` and the kernel describe it before anything was done to it. */
export interface Pristine {
  /** Identity. */
  readonly id: VfId
  /** Interface name. */
  readonly name: string
  /** MAC address. */
  readonly mac: string
  /** MTU in bytes. */
  readonly mtu: number
  /** What the kernel keeps over a move. */
  readonly traits: LinkTraits
  /** Alternative names. */
  readonly altNames: readonly string[]
}

/** The pristine state of all functions. Every later state is compared with it. */
export async function pristineState(fixture: HardwareFixture): Promise<Pristine[]> {
  const functions = await fixture.host.discover(freshContext())
  const states: Pristine[] = []
  for (const id of fixture.vfs) {
    const name = functionOf(functions, id).netdev
    assert.ok(name !== undefined, `discover names the netdev of ${formatVfId(id)}, which is free`)
    const link = await fixture.net.link(fixture.hostNetns, name)
    assert.ok(link !== undefined, `the netdev "${name}" that discover names for ${formatVfId(id)} exists in the host's namespace`)
    states.push({ id, name, mac: link.mac, mtu: link.mtu, traits: link.traits, altNames: link.altNames })
  }
  return states
}

/** One function of a discovery. */
export function functionOf(functions: readonly VirtualFunction[], id: VfId): VirtualFunction {
  const found = functions.find((candidate) => formatVfId(candidate.id) === formatVfId(id))
  assert.ok(found !== undefined, `discover lists ${formatVfId(id)}`)
  return found
}

/** The nth function. */
export function vfAt<T>(list: readonly T[], index: number): T {
  const item = list[index]
  assert.ok(item !== undefined, `the fixture has at least ${index + 1} functions`)
  return item
}

/** Asserts that a function is as it was before it was used. */
export async function assertPristine(fixture: HardwareFixture, was: Pristine, after: string): Promise<void> {
  const link: Link | undefined = await fixture.net.link(fixture.hostNetns, was.name)
  const id = formatVfId(was.id)
  assert.ok(link !== undefined, `${after}: ${id} is back in the host's namespace as "${was.name}"`)
  assert.deepEqual(
    { mac: link.mac, mtu: link.mtu, up: link.up },
    { mac: was.mac, mtu: was.mtu, up: false },
    `${after}: ${id} has its own MAC and MTU again and is down`,
  )
  assertOwnTraits(link, was, `${after}: ${id}`)
  assert.deepEqual(await fixture.net.addresses(fixture.hostNetns, was.name), [], `${after}: ${id} has no addresses`)
}

/** Asserts that a link has the traits and alternative names that its function had before it was used. */
export function assertOwnTraits(link: Link | undefined, was: Pristine, what: string): void {
  assert.deepEqual(link?.traits, was.traits, `${what} has its own traits`)
  assert.deepEqual(link?.altNames, was.altNames, `${what} has its own alternative names and no others`)
}

/** Traits each of which differs from the given one. */
export function otherTraits(traits: LinkTraits): LinkTraits {
  return {
    arp: !traits.arp,
    multicast: !traits.multicast,
    promiscuous: !traits.promiscuous,
    allMulticast: !traits.allMulticast,
    linkMode: traits.linkMode === 0 ? 1 : 0,
    txQueueLength: traits.txQueueLength + 7,
    group: traits.group + 7,
    broadcast: '02:c0:ff:ee:02:00',
  }
}

/** Gives a link an alternative name. @throws AssertionError if the kernel refuses it */
export async function addAltName(netns: NetnsPath, dev: string, altName: string): Promise<void> {
  const { code, stderr } = await exec(inNetns(netns, ['ip', 'link', 'property', 'add', 'dev', dev, 'altname', altName]))
  assert.equal(code, 0, `"${dev}" gets the alternative name "${altName}": ${stderr}`)
}

/** Acquires a function and moves it into a namespace, as the host daemon does. */
export async function giveTo(fixture: HardwareFixture, vf: VfId, want: VfSettings, netns: string, ifName: string): Promise<NetdevRef> {
  const netdev = await fixture.host.acquire(vf, want, freshContext())
  await fixture.net.apply(fixture.hostNetns, [{ op: 'link.move', dev: netdev.name, netns, name: ifName }])
  return netdev
}
