import { type FSWatcher, statSync, watch } from 'node:fs'
import { basename, dirname } from 'node:path'
import type { Logger } from '@cni-offload/sdk'
import { Changes } from './wake.ts'

/**
 * Tells that something in a folder may have changed, also while the folder does not exist or is replaced: then its nearest
 * ancestor is watched. Not noticed is that an ancestor of a folder that exists gets another name.
 */
export class FolderWatch implements Disposable {
  /** Who is told. */
  readonly changes: Changes = new Changes()
  readonly #folder: string
  readonly #log: Logger
  #watcher: FSWatcher | undefined
  /** Path and inode of what is watched. */
  #watched = ''
  #complained = false

  /** @param folder - absolute path */
  constructor(folder: string, log: Logger) {
    this.#folder = folder
    this.#log = log
  }

  /**
   * Makes sure that the right folder is watched. What is looked at after this call cannot change without a call of
   * {@link FolderWatch.changes}.
   *
   * @returns false when it cannot be watched: then somebody has to look from time to time
   */
  arm(): boolean {
    for (;;) {
      const { path, identity } = nearest(this.#folder)
      if (identity === this.#watched) return true
      this.#close()
      try {
        this.#watcher = watch(path, { persistent: false }, (_event, name) => {
          // Its own name: the folder itself was removed or moved, and a new one may have the same inode.
          if (name === basename(path)) this.#close()
          this.changes.notify()
        })
      } catch (error) {
        // It may just have been removed; a real obstacle, such as the limit of watches, is there at every attempt.
        if (nearest(this.#folder).identity !== identity) continue
        if (!this.#complained) this.#log.warn({ err: error, path }, 'folder cannot be watched, it is looked at from time to time')
        this.#complained = true
        return false
      }
      this.#watcher.on('error', () => {
        this.#close()
        this.changes.notify()
      })
      this.#watched = identity
    }
  }

  [Symbol.dispose](): void {
    this.#close()
  }

  #close(): void {
    this.#watcher?.close()
    this.#watcher = undefined
    this.#watched = ''
  }
}

/** The folder, or the nearest one above it that exists. */
function nearest(folder: string): { path: string; identity: string } {
  for (let path = folder; ; path = dirname(path)) {
    const found = statSync(path, { bigint: true, throwIfNoEntry: false })
    if (found !== undefined || path === '/') return { path, identity: `${path}#${found?.dev}:${found?.ino}` }
  }
}
