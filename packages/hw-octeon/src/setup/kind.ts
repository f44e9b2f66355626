import type { SetupSite } from './site.ts'

/** What exactly is changed: the value of something, or by a command. */
export type Edit =
  | {
      /** What is changed: a file, or a property of a function or an interface. */
      readonly target: string
      /** Its value now. */
      readonly before: string
      /** Its value afterwards. */
      readonly after: string
    }
  | {
      /** What is run. */
      readonly command: string
    }

/**
 * What became of a change when it was undone: it was, there was nothing to undo, or it was left because somebody else has changed
 * the same since.
 */
export type Undone = 'undone' | 'nothing' | { readonly left: string }

/** How one kind of change is told, made and undone. */
export interface ChangeKind<C> {
  /** What exactly is changed. */
  edits(change: C): readonly Edit[]
  /** What exactly undoing it changes. */
  undoEdits(change: C): readonly Edit[]
  /** Makes it; made already is success. Read back. @throws OffloadError that says what is in the way */
  apply(change: C, site: SetupSite): Promise<void>
  /**
   * Brings back what was before, wherever `apply` or another `undo` has stopped. Idempotent.
   *
   * @param keep - puts more of what has to be known into the receipt before it cannot be found out any more
   * @throws OffloadError that says what is in the way
   */
  undo(change: C, site: SetupSite, keep: (change: C) => Promise<void>): Promise<Undone>
}

/** Edits the other way round. */
export function reversed(edits: readonly Edit[]): Edit[] {
  return edits.flatMap((edit) => ('command' in edit ? [] : [{ target: edit.target, before: edit.after, after: edit.before }])).toReversed()
}
