import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Link, LinuxNet, NetnsPath } from '../net/model.ts'
import { OffloadError } from '@cni-offload/sdk'

/** Where `ip netns` and container runtimes keep named namespaces. */
const NAMED_NAMESPACES = '/run/netns'

/** A link and where it lies. */
export interface Found {
  /** Namespace. */
  readonly netns: NetnsPath
  /** The link. */
  readonly link: Link
}

/** The links of a namespace, undefined if there is no such namespace. */
export async function linksIfPresent(net: LinuxNet, netns: NetnsPath): Promise<Link[] | undefined> {
  try {
    return await net.links(netns)
  } catch (error) {
    if (OffloadError.is(error) && error.code === 'NOT_FOUND') return undefined
    throw error
  }
}

/**
 * The links of the given namespaces and of every named one, each namespace once. It costs as many dumps as there are
 * namespaces: for plugging, unplugging and recovery, never for an attachment that goes well.
 */
export async function searchEverywhere(net: LinuxNet, first: readonly NetnsPath[]): Promise<Found[]> {
  const names = await readdir(NAMED_NAMESPACES).catch((): string[] => [])
  const seen = new Set<string>()
  const found: Found[] = []
  for (const netns of [...first, ...names.map((name) => join(NAMED_NAMESPACES, name))]) {
    const identity = await net.netnsIdentity(netns)
    if (identity === undefined || seen.has(identity)) continue
    seen.add(identity)
    for (const link of (await linksIfPresent(net, netns)) ?? []) found.push({ netns, link })
  }
  return found
}
