import { watch } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { OffloadError, parseWith } from '@cni-offload/sdk'
import { z } from 'zod'
import type { FakePodObject } from './labels.ts'
import { clusterManifest, type ClusterManifest, podOf, policyOf } from './manifests.ts'
import type { FakePolicy, PolicySubject } from './policy.ts'

/** What an agent learns from the API server. */
export interface ClusterView {
  /** All pods. */
  readonly pods: readonly FakePodObject[]
  /** All policies. */
  readonly policies: readonly FakePolicy[]
  /** Endpoints of other nodes. */
  readonly elsewhere: readonly PolicySubject[]
}

const subjects: z.ZodType<readonly PolicySubject[]> = z.array(
  z.object({ identity: z.object({ id: z.int(), labels: z.array(z.string()) }), ips: z.array(z.string()) }),
)

/**
 * The API server as far as cilium-agents need one: a folder with a file for each pod and policy, and one for each node with its
 * endpoints. Agents that share it know each other's endpoints with their labels, so that a policy holds across nodes.
 */
export class FakeCluster {
  readonly #objects: string
  readonly #endpoints: string

  /** Makes nothing yet. */
  constructor(dir: string) {
    this.#objects = join(dir, 'objects')
    this.#endpoints = join(dir, 'endpoints')
  }

  /** Makes the folder; one that is there is success. */
  async open(): Promise<void> {
    for (const dir of [this.#objects, this.#endpoints]) await mkdir(dir, { recursive: true, mode: 0o700 })
  }

  /**
   * Adds objects, in place of those of the same kind, namespace and name. Agents learn of them a moment later.
   *
   * @param manifests - decoded, in the form that `kubectl apply` takes
   * @returns what they are, for people
   * @throws OffloadError INVALID_CONFIG for what is no pod or policy, or asks for more than a fake agent enforces; then nothing is added
   */
  async apply(manifests: readonly unknown[]): Promise<string[]> {
    const found = manifests.map((manifest) => parseManifest(manifest))
    for (const manifest of found) await replace(this.#fileOf(manifest), JSON.stringify(manifest))
    return found.map(nameOf)
  }

  /** Removes objects; one that is not there is success. @returns as {@link apply} @throws as {@link apply} */
  async delete(manifests: readonly unknown[]): Promise<string[]> {
    const found = manifests.map((manifest) => parseManifest(manifest))
    for (const manifest of found) await rm(this.#fileOf(manifest), { force: true })
    return found.map(nameOf)
  }

  /** Tells the other nodes what endpoints a node has. */
  async publish(node: string, endpoints: readonly PolicySubject[]): Promise<void> {
    await replace(join(this.#endpoints, `${node}.json`), JSON.stringify(endpoints))
  }

  /** What there is now, for the agent of a node. */
  async view(node: string): Promise<ClusterView> {
    const manifests = (await contents(this.#objects)).map(({ value }) => parseManifest(value))
    const others = (await contents(this.#endpoints)).filter(({ file }) => file !== `${node}.json`)
    return {
      pods: manifests.flatMap((manifest) => (manifest.kind === 'Pod' ? [podOf(manifest)] : [])),
      policies: manifests.flatMap((manifest) => (manifest.kind === 'CiliumNetworkPolicy' ? [policyOf(manifest)] : [])),
      elsewhere: others.flatMap(({ file, value }) => parseWith(subjects, value, file, 'UNDECODABLE')),
    }
  }

  /** Hands over what there is, and again after each change, until the signal aborts. */
  async follow(node: string, signal: AbortSignal, changed: (view: ClusterView) => Promise<void>): Promise<void> {
    let news = Promise.withResolvers<void>()
    const tell = (): void => news.resolve()
    using stack = new DisposableStack()
    for (const dir of [this.#objects, this.#endpoints]) {
      const watcher = watch(dir, tell)
      stack.defer(() => watcher.close())
    }
    signal.addEventListener('abort', tell, { once: true })
    stack.defer(() => signal.removeEventListener('abort', tell))
    while (!signal.aborted) {
      // Before it is read: what comes while it is read has to be read again.
      news = Promise.withResolvers<void>()
      await changed(await this.view(node))
      if (!signal.aborted) await news.promise
    }
  }

  #fileOf({ kind, metadata: { namespace, name } }: ClusterManifest): string {
    return join(this.#objects, `${kind}_${namespace}_${name}.json`)
  }
}

const nameOf = ({ kind, metadata: { namespace, name } }: ClusterManifest): string => `${kind} ${namespace}/${name}`

function parseManifest(value: unknown): ClusterManifest {
  try {
    return parseWith(clusterManifest, value, 'manifest', 'INVALID_CONFIG')
  } catch (error) {
    throw new OffloadError('INVALID_CONFIG', OffloadError.from(error).message, {
      cause: error,
      hint: 'Pods and CiliumNetworkPolicies with matchLabels and ports are understood; services, egress and layer 7 need a real Cilium.',
    })
  }
}

async function replace(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text)
  await rename(`${file}.new`, file)
}

async function contents(dir: string): Promise<{ readonly file: string; readonly value: unknown }[]> {
  const files = (await readdir(dir)).filter((file) => file.endsWith('.json')).toSorted()
  const found = await Promise.all(
    files.map(async (file) => {
      // It may have been deleted since.
      const text = await readFile(join(dir, file), 'utf8').catch(() => undefined)
      return text === undefined ? [] : [{ file, value: JSON.parse(text) as unknown }]
    }),
  )
  return found.flat()
}
