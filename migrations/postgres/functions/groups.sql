-- Elastic consumer groups: the function that keeps a slot's earlier owner from writing.

-- Fails unless this member owns the slot in this epoch, and has a lease. The row is locked until the end of the transaction, so no
-- other member can claim the slot before that.
CREATE OR REPLACE FUNCTION message_store.assert_slot(in_group text, slot integer, in_epoch bigint, owned_by uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- message-store functions {version}
BEGIN
  PERFORM FROM message_store.group_slots s
  WHERE s.group_name = in_group AND s.number = slot AND s.epoch = in_epoch AND s.owner = owned_by
    AND EXISTS (
      SELECT FROM message_store.group_members m
      WHERE m.group_name = s.group_name AND m.id = s.owner AND m.lease_until > clock_timestamp()
    )
  FOR SHARE OF s;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'MS001', MESSAGE = format('slot %s of group %s is lost', slot, in_group);
  END IF;
  RETURN true;
END $$;
