import type { FakeKernel } from '../kernel/fake-kernel.ts'
import type { FakeProcess } from '../kernel/processes.ts'
import type { VfioProblem } from '../kernel/vfio.ts'
import type { AgentConfig } from './agent-config.ts'
import type { ControlPlane } from './control-plane.ts'

/** What came of opening a function: its IOMMU group, and what was in the way. */
export interface OpenedFunction {
  /** Number of the group; none for a function that does not exist. */
  readonly group?: number
  /** Why it could not be opened. */
  readonly problem?: VfioProblem
}

/** A control agent that runs on a fake DPU: what it may do to the card. When it is disposed, the agent is dead. */
export class AgentSession implements Disposable {
  readonly #kernel: FakeKernel
  readonly #control: ControlPlane
  readonly #held = new DisposableStack()
  readonly #files: string[] = []
  #serves = false

  constructor(kernel: FakeKernel, control: ControlPlane, process: Omit<FakeProcess, 'files'>) {
    this.#kernel = kernel
    this.#control = control
    this.#held.use(kernel.processes.add({ ...process, files: () => this.#files }))
  }

  /** Opens a function through vfio. */
  open(pci: string): OpenedFunction {
    const fn = this.#kernel.bus.function(pci)
    if (fn === undefined) return { problem: 'not-bound' }
    const opened = this.#kernel.vfio.open(fn)
    const group = fn.iommuGroup === undefined ? {} : { group: fn.iommuGroup }
    if (typeof opened === 'string') return { ...group, problem: opened }
    this.#held.use(opened)
    this.#files.push(`/dev/vfio/${this.#kernel.vfio.nodeName(fn)}`)
    return group
  }

  /** Takes huge pages of the default size. @returns whether there were that many */
  takePages(pages: number): boolean {
    const taken = this.#kernel.hugepages.take(pages)
    if (taken) this.#held.defer(() => this.#kernel.hugepages.give(pages))
    return taken
  }

  /** Answers the host from now on, by this configuration. */
  serve(config: AgentConfig): void {
    this.#serves = true
    this.#control.agentStarted(config)
  }

  /** Tells the host whether the firmware is ready. */
  setFirmwareReady(ready: boolean): void {
    this.#control.setFirmwareReady(ready)
  }

  /** A heartbeat. */
  beat(): void {
    this.#control.beat()
  }

  /** It is there, but does nothing any more. */
  stall(): void {
    this.#serves = false
    this.#control.agentEnded()
  }

  [Symbol.dispose](): void {
    this.#held.dispose()
    if (this.#serves) this.stall()
  }
}
