import { PluginUndo, type PluginUndoDeps } from '../plugins/plugin-undo.ts'
import { listCall } from './call.ts'
import type { FallbackConfig } from './config.ts'
import type { FallbackRunner, FallbackRunners } from './runners.ts'
import type { FallbackRequest, FallbackRow } from './types.ts'

/** What a {@link FallbackUndo} is made of. */
export interface FallbackUndoDeps extends PluginUndoDeps<FallbackRequest> {
  /** What the daemon's configuration says; absent where it says nothing. */
  readonly config?: Pick<FallbackConfig, 'binDirs'> | undefined
  /** Runs lists. */
  readonly runners: FallbackRunners
}

const STEPS = {
  noted: 'host.fallback-undo.noted',
  ended: 'host.fallback-undo.ended',
  forgotten: 'host.fallback-undo.forgotten',
} as const

/** Ends attachments on the host's network with the lists that made them. Needs the lock of the attachment's key. */
export class FallbackUndo extends PluginUndo<FallbackRequest> {
  readonly #lists: Pick<FallbackUndoDeps, 'config' | 'runners'>

  constructor(deps: FallbackUndoDeps) {
    super(deps, {
      what: 'attachment on the host',
      steps: STEPS,
      del: (row, netns, signal) => this.runner(row).del(listCall(row, netns), row.result, signal),
    })
    this.#lists = deps
  }

  /** What runs an attachment's list. Its plugins may have moved since it was made. */
  runner({ call }: FallbackRow): FallbackRunner {
    return this.#lists.runners([...new Set([...call.binDirs, ...(this.#lists.config?.binDirs ?? [])])])
  }
}
