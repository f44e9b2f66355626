import type { Change } from './change.ts'
import { cryptoKind } from './crypto.ts'
import { fileKind, folderKind } from './files.ts'
import { hugepagesKind, mountKind } from './hugepages.ts'
import type { ChangeKind, Edit, Undone } from './kind.ts'
import { addressKind, linkUpKind } from './management-link.ts'
import { moduleKind } from './modules.ts'
import type { SetupSite } from './site.ts'
import { vfioKind } from './vfio.ts'

/** A change that can be told, made and undone. */
export interface SetupStep {
  /** The change as data. */
  readonly change: Change
  /** What exactly is changed. */
  readonly edits: readonly Edit[]
  /** What exactly undoing it changes. */
  readonly undoEdits: readonly Edit[]
  /** Makes it. @throws OffloadError that says what is in the way */
  apply(site: SetupSite): Promise<void>
  /** Undoes it; `keep` puts a change into the receipt. @throws OffloadError that says what is in the way */
  undo(site: SetupSite, keep: (change: Change) => Promise<void>): Promise<Undone>
}

const step = <C extends Change>(kind: ChangeKind<C>, change: C): SetupStep => ({
  change,
  edits: kind.edits(change),
  undoEdits: kind.undoEdits(change),
  apply: async (site) => await kind.apply(change, site),
  undo: async (site, keep) => await kind.undo(change, site, keep),
})

/** How a change is made. */
export function stepOf(change: Change): SetupStep {
  switch (change.kind) {
    case 'folder':
      return step(folderKind, change)
    case 'file':
      return step(fileKind, change)
    case 'module':
      return step(moduleKind, change)
    case 'hugepages':
      return step(hugepagesKind, change)
    case 'mount':
      return step(mountKind, change)
    case 'vfio':
      return step(vfioKind, change)
    case 'link-up':
      return step(linkUpKind, change)
    case 'address':
      return step(addressKind, change)
    case 'crypto':
      return step(cryptoKind, change)
  }
}

/** An edit as a line of text. */
export function editText(edit: Edit): string {
  return 'command' in edit ? `run: ${edit.command}` : `${edit.target}: ${edit.before} → ${edit.after}`
}
