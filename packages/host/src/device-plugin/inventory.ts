import { formatVfId, type VfHealth, type VirtualFunction, vfDeviceId } from '@cni-offload/sdk'
import type { AttachmentJournal } from '../journal/types.ts'
import { type DeviceResource, isCounted } from './config.ts'
import type { Candidate } from './preference.ts'
import { resourceOf } from './selection.ts'

/** A VF as kubelet sees it. */
export interface VfDevice extends Candidate {
  /** Whether it can be leased, or is leased and works. */
  readonly healthy: boolean
}

/**
 * The VFs that the hardware has shown since the daemon started, by the resource that they belong to. It takes over what the
 * hardware reports in front of the journal, so that a VF of an exact resource is reserved before anybody could lease it.
 */
export class VfInventory implements Pick<AttachmentJournal, 'syncVfs' | 'setHealth'> {
  readonly #journal: AttachmentJournal
  readonly #resources: readonly DeviceResource[]
  readonly #found = new Map<string, VirtualFunction>()
  readonly #members = new Map<string, readonly VirtualFunction[]>()

  /** @param resources - the resources of the node; none where nothing is advertised */
  constructor(journal: AttachmentJournal, resources: readonly DeviceResource[]) {
    this.#journal = journal
    this.#resources = resources
  }

  /** @inheritDoc */
  syncVfs(found: readonly VirtualFunction[]): void {
    for (const vf of found) this.#found.set(formatVfId(vf.id), vf)
    const owners = [...this.#found.values()].map((vf) => ({ vf, owner: resourceOf(this.#resources, vf) }))
    for (const resource of this.#resources)
      this.#members.set(
        resource.name,
        // Of a counted resource any is given, and without an id only one that has an interface.
        owners.filter(({ vf, owner }) => owner === resource && !(isCounted(owner) && vf.userspace !== undefined)).map(({ vf }) => vf),
      )
    this.#journal.reserve(owners.flatMap(({ vf, owner }) => (owner === undefined || isCounted(owner) ? [] : [vf.id])))
    this.#journal.syncVfs(found)
  }

  /** @inheritDoc */
  setHealth(of: { readonly device: string; readonly index?: number }, health: VfHealth): void {
    this.#journal.setHealth(of, health)
  }

  /** The VFs of a resource, those included that the hardware does not show any more. */
  members(resource: DeviceResource): readonly VirtualFunction[] {
    return this.#members.get(resource.name) ?? []
  }

  /**
   * The devices of a resource, by id. NUMA nodes are told only where they will be right: a counted device may turn out to be
   * any VF that is not reserved.
   *
   * @throws OffloadError JOURNAL_FAILURE
   */
  devices(resource: DeviceResource): ReadonlyMap<string, VfDevice> {
    const rows = new Map(this.#journal.vfs().map((row) => [formatVfId(row.vf), row]))
    const numa = isCounted(resource) ? this.#commonNode() : ({ numaNode }: VirtualFunction) => numaNode
    return new Map(
      this.members(resource).map((vf) => {
        const row = rows.get(formatVfId(vf.id))
        const numaNode = numa(vf)
        const device = {
          id: vfDeviceId(vf),
          ...(numaNode === undefined ? {} : { numaNode }),
          healthy: row?.health === 'healthy' && row.state !== 'quarantined',
          free: row?.state === 'free',
          turn: row?.turn ?? Number.MAX_SAFE_INTEGER,
        }
        return [device.id, device]
      }),
    )
  }

  /** The node that all VFs without reservation are on, if it is one. */
  #commonNode(): () => number | undefined {
    const open = [...this.#found.values()].filter((vf) => {
      const owner = resourceOf(this.#resources, vf)
      return owner === undefined || isCounted(owner)
    })
    const nodes = new Set(open.map(({ numaNode }) => numaNode))
    const [node] = nodes
    return () => (nodes.size === 1 ? node : undefined)
  }
}
